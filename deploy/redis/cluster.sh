#!/bin/sh
# The cluster's membership, by four words. Each may be repeated at any moment, and changes nothing that is right already.
#
#   init     make the cluster of the nodes, once they all answer: three masters, a replica each
#   keep     beside each server: join the cluster again where addresses have changed or the disk is new
#   leave    before a server ends: hand its slots to a replica, so that nobody waits for an election
#   ready    whether this server serves: it answers, and as a replica it has its master's data
#
# NODES: host:port of all nodes; SELF: this one's; PASSWORD_FILE: of the user operator; PERIOD: seconds between looks.
set -u
: "${PERIOD:=10}" "${PATIENCE:=300}"
REDISCLI_AUTH=$(cat "$PASSWORD_FILE") || exit 1
export REDISCLI_AUTH

say() { echo "$(date -u +%FT%TZ) $*"; }

# ask HOST:PORT COMMAND...: the answer, or failure where none comes in time
ask() {
  at=$1
  shift
  timeout 5 redis-cli --no-auth-warning --user operator -h "${at%:*}" -p "${at##*:}" "$@" 2>/dev/null | tr -d '\r'
}

answers() { [ "$(ask "$1" PING)" = PONG ]; }
field() { ask "$1" CLUSTER INFO | sed -n "s/^$2://p"; }
# The node's own line of CLUSTER NODES: id address flags master ... slots. Its address is ip:port@bus,name.
own() { ask "$1" CLUSTER NODES | grep myself; }
id_of() { own "$1" | cut -d' ' -f1; }
address() { own "$1" | cut -d' ' -f2 | cut -d, -f1; }
has_slots() { own "$1" | awk 'NF > 8 { found = 1 } END { exit !found }'; }
is_master() { own "$1" | grep -q 'myself,master'; }
# Whether it belongs to a cluster that serves: all slots are somebody's.
settled() { [ "$(field "$1" cluster_slots_assigned)" = 16384 ]; }

meet() { # make $1 know $2
  place=$(address "$2")
  [ -n "$place" ] || return 1
  host=${place%@*}
  ask "$1" CLUSTER MEET "${host%:*}" "${host##*:}" "${place##*@}" >/dev/null
}

init() {
  deadline=$(($(date +%s) + PATIENCE))
  for node in $NODES; do
    until answers "$node"; do
      [ "$(date +%s)" -lt $deadline ] || { say "$node does not answer"; exit 1; }
      sleep 1
    done
  done
  for node in $NODES; do
    settled "$node" && { say "the cluster is there: nothing to do"; exit 0; }
  done
  # None has all slots: a new cluster, or one whose making was broken off. What has data is not touched.
  places=
  for node in $NODES; do
    [ "$(ask "$node" DBSIZE)" = 0 ] || { say "$node has data and no cluster: see docs/operations.md"; exit 1; }
    if [ "$(field "$node" cluster_known_nodes)" != 1 ] || has_slots "$node"; then
      say "$node: begun before, begins anew"
      ask "$node" CLUSTER RESET HARD >/dev/null
    fi
  done
  for node in $NODES; do
    place=$(address "$node")
    places="$places ${place%@*}"
  done
  # shellcheck disable=SC2086  # words are wanted
  redis-cli --no-auth-warning --user operator --cluster create $places --cluster-replicas 1 --cluster-yes || exit 1
  for node in $NODES; do
    until [ "$(field "$node" cluster_state)" = ok ]; do
      [ "$(date +%s)" -lt $deadline ] || { say "$node does not come to serve"; exit 1; }
      sleep 1
    done
  done
  say "the cluster serves"
}

idle=0 # looks in which this node had nothing to do in its cluster

look() {
  table=$(ask "$SELF" CLUSTER NODES)
  mine=$(echo "$table" | grep myself) || return 0
  me=${mine%% *}
  name=$(echo "$mine" | cut -d' ' -f2 | cut -s -d, -f2)
  assigned=$(field "$SELF" cluster_slots_assigned)
  gone=
  for node in $NODES; do
    theirs=$(ask "$node" CLUSTER NODES)
    line=$(echo "$theirs" | grep myself) || continue
    id=${line%% *}
    [ "$id" != "$me" ] || continue
    # Dead, and bore the name of this node: its disk is lost.
    for dead in $(echo "$theirs" | awk -v me="$me" -v name=",$name" '$1 != me && $3 ~ /fail/ && $2 ~ (name "$") { print $1 }'); do
      gone="$gone $node=$dead"
    done
    place=$(echo "$line" | cut -d' ' -f2 | cut -d, -f1)
    known=$(echo "$table" | grep "^$id ")
    case $known in
      "$id $place"*" connected"*) case $known in *fail* | *noaddr*) ;; *) continue ;; esac ;;
    esac
    # Before `init` nobody is brought together.
    [ "$assigned" = 16384 ] || settled "$node" || continue
    say "$node is at $place: told"
    meet "$SELF" "$node"
  done
  case $mine in *myself,master*) ;; *) idle=0; forget; return 0 ;; esac
  if [ "$assigned" = 16384 ] && ! has_slots "$SELF"; then
    idle=$((idle + 1))
    adopt
  else
    idle=0
    forget
  fi
}

# All nodes forget whom this one has replaced, each in its own table.
forget() {
  for one in $gone; do
    say "${one#*=} is gone for good: ${one%%=*} forgets it"
    ask "${one%%=*}" CLUSTER FORGET "${one#*=}" >/dev/null
  done
}

# A node without slots in a cluster that serves is one whose disk is new: it replaces the one that bore its name.
adopt() {
  [ "$(ask "$SELF" DBSIZE)" = 0 ] || { say "has data and no slots: left alone"; return; }
  # While `init` is at work nobody is dead, and it gives replicas to masters by itself.
  [ -n "$gone" ] || [ "$idle" -gt 6 ] || return
  master=$(echo "$table" | awk '
    $3 ~ /master/ && $3 !~ /fail/ && NF > 8 { slots[$1] = 1 }
    $4 != "-" && $3 !~ /fail/ { replicas[$4]++ }
    END {
      least = -1
      for (id in slots) if (least < 0 || replicas[id] + 0 < least) { least = replicas[id] + 0; found = id }
      print found
    }')
  [ -n "$master" ] || return
  say "empty: becomes a replica of $master"
  ask "$SELF" CLUSTER REPLICATE "$master" >/dev/null
}

leave() {
  answers "$SELF" && is_master "$SELF" && has_slots "$SELF" || return 0
  me=$(id_of "$SELF")
  for node in $NODES; do
    own "$node" | grep -q " $me " || continue
    ask "$node" INFO replication | grep -q '^master_link_status:up' || continue
    [ "$(ask "$node" CLUSTER FAILOVER)" = OK ] || continue
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
      is_master "$SELF" || { say "$node has taken over"; return 0; }
      sleep 1
    done
  done
  say "nobody takes over: the others will elect"
}

ready() {
  answers "$SELF" || exit 1
  ask "$SELF" INFO replication | grep -qE '^(role:master|master_link_status:up)'
}

case ${1:-} in
  init) init ;;
  keep) while :; do look; sleep "$PERIOD"; done ;;
  look) look ;;
  leave) leave ;;
  ready) ready ;;
  *) echo "usage: cluster.sh init | keep | leave | ready" >&2; exit 2 ;;
esac
