#!/usr/bin/env bash
# guard.sh DIRECTORY COMMAND...: runs COMMAND on a remote host for a launcher elsewhere.
#
# The launcher writes an empty line each second. Any other line asks COMMAND to stop, and so do the
# end of the input and 30 seconds of silence, after a cut. COMMAND then has 30 seconds to save.
# Without this script, a trainer would outlive its ssh.
cd "$1" || exit 1
shift
"$@" </dev/null &
while kill -0 $! && read -r -t 30 word && [ -z "$word" ]; do :; done 2>/dev/null
kill -s TERM $! 2>/dev/null
for _ in {1..30}; do
    kill -0 $! 2>/dev/null || break
    sleep 1
done
kill -s KILL $! 2>/dev/null
wait $!
