#!/bin/sh
# Beside the server in its pod: tell it when its certificate was renewed, or it would show the old one until it expires.
# PID_FILE is the server's, TLS_DIR holds the files that are watched, PERIOD are seconds between looks.
set -eu

content() { cat "$TLS_DIR"/* 2>/dev/null | md5sum; }

known=$(content)
while sleep "$PERIOD"; do
  now=$(content)
  [ "$now" = "$known" ] && continue
  # The server refuses a pair that does not fit, as while files are being replaced: then the next look says it again.
  if nats-server --signal "reload=$PID_FILE"; then
    echo "the certificate has changed: the server was told"
    known=$now
  fi
done
