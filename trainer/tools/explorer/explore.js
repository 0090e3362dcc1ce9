// What the page shows is in `shown`: a sample of a seed and, once a slider has moved it, its
// coordinates along the directions. Everything else is drawn from that by the server.
"use strict";

const $ = (id) => document.getElementById(id);
const thumbnails = [...document.querySelectorAll("#gallery img")];
const radios = [...document.querySelectorAll("#gallery input")];
const sliders = [...document.querySelectorAll(".direction input")];
const endImages = [...document.querySelectorAll(".direction img")];
const strip = [];
const STRIDE = 3; // frames of the way from one picture of the strip to the next

const shown = { seed: $("seed").value, index: 0, coordinates: null };
const ends = { a: { ...shown }, b: { ...shown, index: 1 } };
let samples = null; // of the seed: their images and coordinates
let frames = []; // of the way from A to B

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

async function ask(path, parameters) {
  let answer;
  try {
    answer = await fetch(`${path}?${new URLSearchParams(parameters)}`);
  } catch {
    throw new Error("The server does not answer; start it again, and load this page again.");
  }
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

// One request at a time, and after it the newest wish alone: no answer is ever out of date.
function newest(work) {
  let busy = false;
  let wanted = false;
  return async () => {
    wanted = true;
    if (busy) return;
    busy = true;
    while (wanted) {
      wanted = false;
      try {
        await work();
        say("");
      } catch (error) {
        say(error.message);
      }
    }
    busy = false;
  };
}

function common() {
  const parameters = {};
  if ($("label")?.value) parameters.label = $("label").value;
  if (Number($("truncation").value) < Number($("truncation").max)) {
    parameters.truncation = $("truncation").value;
  }
  return parameters;
}

function place(which, prefix = "") {
  const parameters = { [`${prefix}seed`]: which.seed, [`${prefix}index`]: which.index };
  if (which.coordinates) parameters[`${prefix}coordinates`] = which.coordinates.join();
  return parameters;
}

const name = (which) =>
  `seed ${which.seed}, sample ${which.index + 1}${which.coordinates ? ", moved" : ""}`;

const drawPicture = newest(async () => {
  const began = performance.now();
  const { image } = await ask("image", { ...place(shown), ...common() });
  if (!shown.coordinates) return; // a sample was picked meanwhile, and is shown already
  $("picture").src = image;
  await $("picture").decode().catch(() => {}); // nor is it an error if one is picked now
  const took = Math.round(performance.now() - began);
  if (shown.coordinates) $("took").textContent = `drawn in ${took} ms`;
});

const drawEnds = newest(async () => {
  const { images } = await ask("ends", { ...place(shown), ...common() });
  images.forEach((image, i) => (endImages[i].src = image));
});

const drawSamples = newest(async () => {
  const found = await ask("samples", { seed: shown.seed, ...common() });
  samples = found;
  samples.images.forEach((image, i) => (thumbnails[i].src = image));
  showSample();
});

const drawWay = newest(async () => {
  const parameters = { ...place(ends.a, "a_"), ...place(ends.b, "b_"), ...common() };
  frames = (await ask("way", parameters)).images;
  strip.forEach((image, i) => (image.src = frames[i * STRIDE]));
  showBetween();
  $("name_a").textContent = name(ends.a);
  $("name_b").textContent = name(ends.b);
});

// Of the sample itself everything is here already; of one that was moved, the server draws it.
function showSample() {
  if (shown.coordinates) {
    drawPicture();
  } else {
    $("took").textContent = "";
    $("picture").src = samples.images[shown.index];
    sliders.forEach((slider, i) => (slider.value = samples.coordinates[shown.index][i]));
  }
  drawEnds();
  showName();
}

function showName() {
  const text = name(shown);
  $("shown").textContent = text[0].toUpperCase() + text.slice(1);
  $("picture").alt = text;
  $("back").disabled = !shown.coordinates;
  const words = [$("command").dataset.flags, `--num=${$("command").dataset.count}`];
  words.push(`--seed=${shown.seed}`);
  words.push(...Object.entries(common()).map(([key, value]) => `--${key}=${value}`));
  $("command").textContent = [...words, "--output=samples.png"].join(" ");
}

function showBetween() {
  if (frames.length) $("between").src = frames[Number($("place").value)];
}

function begin() {
  shown.coordinates = null;
  drawSamples();
}

function showTruncation() {
  $("truncated").textContent = common().truncation ?? "none";
}

function playing() {
  return $("play").getAttribute("aria-pressed") === "true";
}

let forward = true;
function play() {
  if (!playing()) return;
  const slider = $("place");
  if (slider.value === (forward ? slider.max : slider.min)) forward = !forward;
  slider.value = Number(slider.value) + (forward ? 1 : -1);
  showBetween();
  setTimeout(play, 60);
}

$("seed").addEventListener("input", () => {
  if (!$("seed").value) return;
  shown.seed = $("seed").value;
  begin();
});
$("another").addEventListener("click", () => {
  $("seed").value = shown.seed = String(crypto.getRandomValues(new Uint32Array(1))[0] % 10000);
  begin();
});
$("label")?.addEventListener("change", () => {
  drawSamples(); // and what was moved stays moved: the same place, in another class
  drawWay();
});
$("truncation").addEventListener("input", () => {
  showTruncation();
  begin();
  drawWay();
});
radios.forEach((radio, i) =>
  radio.addEventListener("change", () => {
    Object.assign(shown, { index: i, coordinates: null });
    if (samples) showSample();
  }),
);
sliders.forEach((slider) => {
  slider.addEventListener("input", () => {
    shown.coordinates = sliders.map((each) => each.value);
    drawPicture();
    showName();
  });
  slider.addEventListener("change", drawEnds);
});
$("back").addEventListener("click", () => {
  shown.coordinates = null;
  showSample();
});
for (const end of ["a", "b"]) {
  $(`set_${end}`).addEventListener("click", () => {
    ends[end] = { ...shown };
    drawWay();
  });
}
$("place").addEventListener("input", showBetween);
$("play").addEventListener("click", () => {
  $("play").setAttribute("aria-pressed", String(!playing()));
  play();
});
document.querySelectorAll(".copy").forEach((button) =>
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.previousElementSibling.textContent);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Not permitted";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  }),
);

for (let i = 0; i < thumbnails.length; i += STRIDE) {
  const image = $("between").cloneNode();
  image.removeAttribute("id");
  image.alt = "";
  strip.push(image);
  $("strip").append(image);
}
radios[0].checked = true; // which a browser that loads again may remember otherwise
$("truncation").value = $("truncation").max;
showTruncation();
drawSamples();
drawWay();
