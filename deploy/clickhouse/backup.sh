#!/bin/sh
# One backup of the product's tables: whole on Sundays, else what has changed since the last whole one. The servers write
# it; this only asks them. Where it goes is the collection `backups` of the servers' configuration.
#
# ENGINE: S3 or AzureBlobStorage; HOSTS: servers, of which the first that answers is asked; PASSWORD: of the user backup;
# TODAY (for tests): YYYY-MM-DD.
set -eu
: "${TODAY:=$(date -u +%F)}"

ask() { clickhouse-client --host "$host" --user backup --password "$PASSWORD" --query "$1"; }
place() { echo "$ENGINE(backups, 'campaign_express/$1')"; }

host=
for one in $HOSTS; do
  host=$one
  ask "SELECT 1" >/dev/null 2>&1 && break
  host=
done
[ -n "$host" ] || { echo "no server answers: $HOSTS" >&2; exit 1; }

# Monday is 1, Sunday 7.
weekday=$(date -u -d "$TODAY 00:00" +%u)
sunday=$(date -u -d "@$(($(date -u -d "$TODAY 00:00" +%s) - weekday % 7 * 86400))" +%F)
name=$TODAY
if [ "$weekday" != 7 ]; then
  if ask "BACKUP DATABASE campaign_express TO $(place "$TODAY") SETTINGS base_backup = $(place "$sunday")"; then
    echo "$TODAY: what has changed since $sunday"
    exit 0
  fi
  echo "nothing could be built on the backup of $sunday: a whole one instead" >&2
  name=$TODAY-whole
fi
ask "BACKUP DATABASE campaign_express TO $(place "$name")"
echo "$name: whole"
