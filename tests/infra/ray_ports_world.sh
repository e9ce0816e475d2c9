#!/bin/sh
# Run by test_ray_ports in namespaces of its own: a head as KubeRay starts it, then what listens and what its probes answer, then
# what came out of the container when an actor had logged.
set -eu
ip link set lo up
ip addr add "$2/32" dev lo
"$1" start --head --block --node-ip-address="$2" --temp-dir="$3" $4 >"$3/start.log" 2>&1 &
for _ in $(seq 120); do
  if curl -sf -o /dev/null "http://$2:52365/api/local_raylet_healthz" && curl -sf -o /dev/null "http://$2:8265/api/gcs_healthz"; then
    sleep 1
    ss -Hltn
    "$5" "$6" "$2:6379" >/dev/null
    echo "container:"
    cat "$3/start.log"
    exit 0
  fi
  sleep 0.5
done
tail -20 "$3/start.log" >&2
exit 1
