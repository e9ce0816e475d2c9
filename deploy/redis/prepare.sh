#!/bin/sh
# Before the server starts: users and passwords, from secrets into files that only it can read.
# CONFIG holds users.acl, SECRETS a file a password, TARGET is where the server looks.
set -eu
umask 077

password() {
  read -r value <"$SECRETS/$1" || [ -n "$value" ] || { echo "$SECRETS/$1: no password" >&2; exit 1; }
  case $value in
    *[!A-Za-z0-9_-]*) echo "$SECRETS/$1: letters, digits, - and _ only" >&2; exit 1 ;;
  esac
  [ ${#value} -ge 16 ] || { echo "$SECRETS/$1: shorter than 16 characters" >&2; exit 1; }
  printf %s "$value"
}

text=$(cat "$CONFIG/users.acl")
for name in app-password replication-password exporter-password operator-password; do
  value=$(password "$name")
  digest=$(printf %s "$value" | sha256sum | cut -d' ' -f1)
  text=$(printf '%s\n' "$text" | sed "s/@$name@/$digest/")
done
printf '%s\n' "$text" >"$TARGET/users.acl"
value=$(password replication-password)
printf 'masteruser replication\nmasterauth "%s"\n' "$value" >"$TARGET/replication.conf"
