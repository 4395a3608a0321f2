#!/bin/sh
# Installs the built program and its units, or removes them: install.sh [--remove]. Keeps settings and credentials.
# PREFIX is /usr/local by default. With DESTDIR it only copies files, for a package.
set -eu
prefix=${PREFIX:-/usr/local}
root=${DESTDIR:-}
here=$(cd "$(dirname "$0")" && pwd)
program=$here/../../dist
name=vfio-dmabuf-tracer
units=$root$prefix/lib/systemd/system

if [ "${1:-}" = --remove ]; then
  [ -n "$root" ] || [ ! -e "$units/$name.target" ] ||
    systemctl disable --now $name.target $name-serve.socket $name-serve.service $name-collect.service
  rm -rf "$root$prefix/lib/$name"
  rm -f "$root$prefix/bin/$name" "$units/$name.target" "$units/$name-"* \
    "$root$prefix/lib/sysusers.d/$name.conf" "$root$prefix/lib/tmpfiles.d/$name.conf"
  [ -n "$root" ] || systemctl daemon-reload
  exit
fi
[ $# -eq 0 ] || { echo "install.sh: unknown argument $1; the only one is --remove" >&2; exit 2; }
[ -e "$program/$name.mjs" ] || { echo "install.sh: $program is missing; build it: npm ci && npm run build" >&2; exit 1; }

mkdir -p "$root$prefix/bin" "$units" "$root$prefix/lib/sysusers.d" "$root$prefix/lib/tmpfiles.d"
rm -rf "$root$prefix/lib/$name"
cp -r "$program" "$root$prefix/lib/$name"
chmod -R a+rX "$root$prefix/lib/$name"
ln -sfn "../lib/$name/$name.mjs" "$root$prefix/bin/$name"
for unit in "$here/$name"*; do
  sed "s,/usr/bin/,$prefix/bin/," "$unit" >"$units/${unit##*/}"
done
cp "$here/sysusers.conf" "$root$prefix/lib/sysusers.d/$name.conf"
cp "$here/tmpfiles.conf" "$root$prefix/lib/tmpfiles.d/$name.conf"
if [ -z "$root" ]; then
  systemd-sysusers "$name.conf"
  systemd-tmpfiles --create "$name.conf"
  systemctl daemon-reload
fi
