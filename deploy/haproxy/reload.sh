#!/bin/sh
# Beside HAProxy in its pod: have it read its certificate anew when that was renewed. PID_FILE is the master process', TLS_DIR holds the
# files that are watched, PERIOD are seconds between looks. A file that cannot be used leaves the old one in service.
set -eu

content() { cat "$TLS_DIR"/*.pem 2>/dev/null | md5sum; }

known=$(content)
while sleep "$PERIOD"; do
  now=$(content)
  [ "$now" = "$known" ] && continue
  if kill -USR2 "$(cat "$PID_FILE")"; then
    echo "the certificate has changed: HAProxy was told"
    known=$now
  fi
done
