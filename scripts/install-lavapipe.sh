#!/bin/sh
# Installs lavapipe, mesa's Vulkan driver that runs on the CPU, with apt. Needs root.
#
# Debian 12's own mesa (22.3) lacks what WebGPU asks for, so there the driver comes from the suite
# bookworm-backports, on the mirror that the machine's apt already uses. Newer Debian and Ubuntu ship
# a mesa that works as it is.
set -eu

say() { echo "install-lavapipe: $*" >&2; }
fail() {
  say "$*"
  exit 1
}

[ "$(id -u)" = 0 ] || fail "run this as root"
command -v apt-get >/dev/null || fail "there is no apt-get here; install mesa 23 or later with your package manager"
export DEBIAN_FRONTEND=noninteractive

# The address, the key and the options of the machine's own Debian mirror, one-line or deb822 style.
mirror() {
  for file in /etc/apt/sources.list.d/*.sources; do
    [ -e "$file" ] || continue
    awk -v want="$1" '
      function done_stanza() {
        if (suites ~ /(^| )bookworm( |$)/ && enabled) {
          print (want == "uri" ? uri : key)
          found = 1
          exit
        }
      }
      BEGIN { enabled = 1 }
      /^$/ { done_stanza(); uri = key = suites = ""; enabled = 1 }
      /^URIs:/ { uri = $2 }
      /^Signed-By:/ { key = $2 }
      /^Suites:/ { suites = substr($0, 9) }
      /^Enabled: *no/ { enabled = 0 }
      END { if (!found) done_stanza() }
    ' "$file"
  done
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -e "$file" ] || continue
    sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) bookworm main.*/\1|\2/p' "$file" |
      while IFS='|' read -r options uri; do
        if [ "$1" = uri ]; then
          echo "$uri"
        else
          echo "$options" | sed -n 's/.*signed-by=\([^] ]*\).*/\1/p'
        fi
      done
  done
}

suite=
. /etc/os-release
if [ "${ID:-}" = debian ] && [ "${VERSION_ID:-}" = 12 ]; then
  suite=bookworm-backports
  if ! grep -qsE '^[^#]*bookworm-backports' /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; then
    uri=$(mirror uri | head -n 1)
    key=$(mirror key | head -n 1)
    [ -n "$uri" ] || fail "found no Debian mirror in the apt sources; add the suite $suite yourself and run this again"
    list=/etc/apt/sources.list.d/mowgli-backports.list
    say "adding $suite of $uri as $list"
    echo "deb ${key:+[signed-by=$key] }$uri $suite main" >"$list"
    # A suite that the mirror does not have would break the machine's next apt-get update.
    trap 'rm -f "$list"; say "failed; $list was removed again"' EXIT
  fi
elif [ "${ID:-}" = debian ] && [ "${VERSION_ID:-99}" -lt 12 ]; then
  fail "mesa of Debian $VERSION_ID is too old for WebGPU"
fi

apt-get update
apt-get install -y --no-install-recommends ${suite:+-t "$suite"} mesa-vulkan-drivers libvulkan1
trap - EXIT
say "installed; check with: mowgli doctor"
