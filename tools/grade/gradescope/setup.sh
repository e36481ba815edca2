#!/usr/bin/env bash
# Gradescope runs this once, when it makes the image of the autograder. It installs what the grader
# and the submissions need: Python, Node, Deno, and the packages of the reports.
#
# Choose the newest Ubuntu for the image: an old one has a Node that is too old.
#
# To make the file that is uploaded, in the folder of the project:
#
#     zip -r ../autograder.zip deno.json deno.lock main.ts lab npm tools
#     zip -j ../autograder.zip tools/grade/gradescope/setup.sh tools/grade/gradescope/run_autograder
set -euo pipefail

source=${AUTOGRADER:-/autograder}/source

apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
  bubblewrap ca-certificates iproute2 jq nodejs npm procps python3 util-linux
npm install --global deno@2.9.6

# What the grader imports is fetched here: a submission may be graded without a network.
cd "$source"
deno cache --quiet --config tools/deno.json tools/grade/command.ts
deno bundle --quiet --config tools/deno.json --output /dev/null tools/grade/inner.ts
