{{/* Names are those that HAProxy, network policies and `campaign-express cluster` know: one release a namespace. */}}
{{- define "campaign-express.name" -}}campaign-express{{- end }}

{{- define "campaign-express.labels" -}}
app.kubernetes.io/name: {{ include "campaign-express.name" . }}
app.kubernetes.io/part-of: campaign-express
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* serve_config.yaml as kuberay/serve.yaml has it for production (a file that `make manifests` writes), with the values' numbers. */}}
{{- define "campaign-express.serveConfig" -}}
{{- $config := .Files.Get "files/serve-config.yaml" | fromYaml -}}
{{- $application := index $config.applications 0 -}}
{{- $_ := set $application.args "agents_per_cell" (int .Values.config.agentsPerNode) -}}
{{- $_ := set $application.args "http_port" (int .Values.config.httpPort) -}}
{{- $_ := set $application.args "grpc_port" (int .Values.config.grpcPort) -}}
{{- $_ := set $application.args "metrics_port" (int .Values.config.metricsPort) -}}
{{- $scaling := (index $application.deployments 0).autoscaling_config -}}
{{- $_ := set $scaling "min_replicas" (int .Values.autoscaling.minReplicas) -}}
{{- $_ := set $scaling "initial_replicas" (int .Values.replicaCount) -}}
{{- $_ := set $scaling "max_replicas" (int .Values.autoscaling.maxReplicas) -}}
{{- $_ := set $scaling.policy.policy_kwargs "cpu" (divf .Values.autoscaling.targetCPU 100) -}}
{{- $_ := set $scaling.policy.policy_kwargs "memory" (divf .Values.autoscaling.targetMemory 100) -}}
{{- toYaml $config -}}
{{- end }}

{{/* Environment of head and bidders: kuberay/base/configmap.yaml (a file that `make manifests` writes), with the values. */}}
{{- define "campaign-express.environment" -}}
{{- $environment := .Files.Get "files/environment.yaml" | fromYaml -}}
{{- $_ := set $environment "CAMPAIGN_EXPRESS_NATS_URL" .Values.nats -}}
{{- /* One address of a cluster: the product wants to be told that it is one, and the reference's url does not say so. */ -}}
{{- $redis := regexReplaceAll "^(rediss?)://redis-cluster([:/]|$)" .Values.redis "${1}+cluster://redis-cluster${2}" -}}
{{- $_ := set $environment "CAMPAIGN_EXPRESS_REDIS_URL" $redis -}}
{{- $_ := set $environment "CAMPAIGN_EXPRESS_CLICKHOUSE_URL" .Values.clickhouse -}}
{{- $_ := set $environment "CAMPAIGN_EXPRESS_MODEL_FILE" (ternary .Values.models.file "" .Values.models.enabled) -}}
{{- if and .Values.npu.enabled (eq .Values.npu.resource "amd.com/xdna") -}}
{{- $_ := set $environment "CAMPAIGN_EXPRESS_ACCELERATOR" "amd_xdna" -}}
{{- $_ := set $environment "CAMPAIGN_EXPRESS_REQUIRE_ACCELERATOR" "true" -}}
{{- end -}}
{{- toYaml (mergeOverwrite $environment .Values.extraConfig) -}}
{{- end }}

{{/* Resources of a bidder pod, with the device. */}}
{{- define "campaign-express.resources" -}}
{{- $device := ternary (dict .Values.npu.resource (toString .Values.npu.count)) dict .Values.npu.enabled -}}
requests:
  {{- range $name, $quantity := merge (dict) .Values.resources.requests $device }}
  {{ $name }}: {{ $quantity | toString | quote }}
  {{- end }}
limits:
  {{- range $name, $quantity := merge (dict) .Values.resources.limits $device }}
  {{ $name }}: {{ $quantity | toString | quote }}
  {{- end }}
{{- end }}

{{/* A whole number of pods: of a percentage, rounded up, as Kubernetes does. */}}
{{- define "campaign-express.minAvailable" -}}
{{- $wanted := toString .Values.pdb.minAvailable -}}
{{- if hasSuffix "%" $wanted -}}
{{- divf (mulf (trimSuffix "%" $wanted | float64) .Values.replicaCount) 100 | ceil | int -}}
{{- else -}}
{{- $wanted -}}
{{- end -}}
{{- end }}

{{/* What a schema cannot say. */}}
{{- define "campaign-express.check" -}}
{{- $least := int .Values.autoscaling.minReplicas -}}
{{- $most := int .Values.autoscaling.maxReplicas -}}
{{- if or (lt (int .Values.replicaCount) $least) (gt (int .Values.replicaCount) $most) -}}
{{- fail (printf "replicaCount %d is not between autoscaling.minReplicas %d and autoscaling.maxReplicas %d: change one of them" (int .Values.replicaCount) $least $most) -}}
{{- end -}}
{{- if ge (include "campaign-express.minAvailable" . | int) (int .Values.replicaCount) -}}
{{- fail (printf "pdb.minAvailable %v leaves none of %d bidder pods to be moved, so no node could ever be drained: set it lower" .Values.pdb.minAvailable (int .Values.replicaCount)) -}}
{{- end -}}
{{- $ports := list (int .Values.config.httpPort) (int .Values.config.grpcPort) (int .Values.config.metricsPort) 8000 8090 -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- fail "config.httpPort, grpcPort, metricsPort must differ from each other, from 8000 (Serve) and from 8090 (Ray's metrics)" -}}
{{- end -}}
{{- if contains "@" (print .Values.nats .Values.redis .Values.clickhouse) -}}
{{- fail "nats, redis and clickhouse are urls without user and password: put urls that have them into Secrets, see README.md" -}}
{{- end -}}
{{- end }}
