// `shown` is the point in latent space that the page shows: a sample of a seed and, once a slider
// has moved it, its coordinates along the directions. The server draws all images from it.
"use strict";

const $ = (id) => document.getElementById(id);
const thumbnails = [...document.querySelectorAll("#gallery img")];
const radios = [...document.querySelectorAll("#gallery input")];
const sliders = [...document.querySelectorAll(".direction input")];
const extremeImages = [...document.querySelectorAll(".direction img")];
const strip = [];
const STRIDE = 3; // frames between two pictures of the strip

const shown = { seed: $("seed").value, index: 0, coordinates: null };
const endpoints = { a: { ...shown }, b: { ...shown, index: 1 } };
let samples = null; // images and coordinates of the seed's samples
let frames = []; // of the interpolation from A to B

function showMessage(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
}

async function request(path, parameters) {
  let response;
  try {
    response = await fetch(`${path}?${new URLSearchParams(parameters)}`);
  } catch {
    throw new Error("The server does not respond; start it again, then reload this page.");
  }
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

// Runs `work` one at a time, and after it only the newest call: no response is ever out of date.
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
        showMessage("");
      } catch (error) {
        showMessage(error.message);
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

function parametersOf(point, prefix = "") {
  const parameters = { [`${prefix}seed`]: point.seed, [`${prefix}index`]: point.index };
  if (point.coordinates) parameters[`${prefix}coordinates`] = point.coordinates.join();
  return parameters;
}

const name = (point) =>
  `seed ${point.seed}, sample ${point.index + 1}${point.coordinates ? ", moved" : ""}`;

const drawPicture = newest(async () => {
  const began = performance.now();
  const { image } = await request("image", { ...parametersOf(shown), ...common() });
  if (!shown.coordinates) return; // a sample was picked meanwhile, and is shown already
  $("picture").src = image;
  await $("picture").decode().catch(() => {}); // fails if a sample is picked now
  const took = Math.round(performance.now() - began);
  if (shown.coordinates) $("took").textContent = `drawn in ${took} ms`;
});

const drawExtremes = newest(async () => {
  const { images } = await request("extremes", { ...parametersOf(shown), ...common() });
  images.forEach((image, i) => (extremeImages[i].src = image));
});

const drawSamples = newest(async () => {
  const found = await request("samples", { seed: shown.seed, ...common() });
  samples = found;
  samples.images.forEach((image, i) => (thumbnails[i].src = image));
  showSample();
});

const drawInterpolation = newest(async () => {
  const parameters = {
    ...parametersOf(endpoints.a, "a_"),
    ...parametersOf(endpoints.b, "b_"),
    ...common(),
  };
  frames = (await request("interpolation", parameters)).images;
  strip.forEach((image, i) => (image.src = frames[i * STRIDE]));
  showBetween();
  $("name_a").textContent = name(endpoints.a);
  $("name_b").textContent = name(endpoints.b);
});

// A sample itself is here already; the server draws one that was moved.
function showSample() {
  if (shown.coordinates) {
    drawPicture();
  } else {
    $("took").textContent = "";
    $("picture").src = samples.images[shown.index];
    sliders.forEach((slider, i) => (slider.value = samples.coordinates[shown.index][i]));
  }
  drawExtremes();
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
  if (frames.length) $("between").src = frames[Number($("position").value)];
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
  const slider = $("position");
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
  drawSamples(); // a moved point stays where it is, in another class
  drawInterpolation();
});
$("truncation").addEventListener("input", () => {
  showTruncation();
  begin();
  drawInterpolation();
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
  slider.addEventListener("change", drawExtremes);
});
$("back").addEventListener("click", () => {
  shown.coordinates = null;
  showSample();
});
for (const end of ["a", "b"]) {
  $(`set_${end}`).addEventListener("click", () => {
    endpoints[end] = { ...shown };
    drawInterpolation();
  });
}
$("position").addEventListener("input", showBetween);
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
radios[0].checked = true; // a browser may remember another choice when it reloads
$("truncation").value = $("truncation").max;
showTruncation();
drawSamples();
drawInterpolation();
