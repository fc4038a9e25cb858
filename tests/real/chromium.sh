#!/bin/sh
# chromium.sh FOLDER: Debian's Chromium and what it needs that is not installed, unpacked into FOLDER/chromium.
set -eu
debs="$(cd "$1" && pwd)/debs"
mkdir -p "$debs/partial"
apt-get -qy --no-install-recommends --download-only -o Debug::NoLocking=1 -o Dir::Cache::archives="$debs/" ${REINSTALL:-} \
  install chromium chromium-common fonts-dejavu-core
mkdir -p "$1/chromium.part"
for deb in "$debs"/*.deb; do dpkg -x "$deb" "$1/chromium.part"; done
mv "$1/chromium.part" "$1/chromium"
rm -r "$debs"
