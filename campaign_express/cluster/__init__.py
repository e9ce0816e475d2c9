"""Operating a cluster from outside: KubeRay's RayService and what stands around it, through the Kubernetes API.

Nothing of this runs in a cell, and nothing here imports ray: an operator's machine needs a kubeconfig and no more.

    connection.py → faults.py       a kubeconfig becomes a client; what goes wrong becomes a message with its remedy
    ray_service_api.py              the RayService, with the method names of KubeRay's own Python client
    cells.py → overview.py          what there is: cells, nodes, versions, autoscaler
    manifests.py → apply.py         files to objects to server-side apply
    keeping.py                      an upgrade under load keeps the cells that run
    serve_text.py → scale.py, restart.py    edits of `serveConfigV2`, and the patches made of them
    rollout.py, pod_logs.py         waiting and reading
    doctor.py → checks_*.py         every check with its remedy
"""
