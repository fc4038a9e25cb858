{{/* Envoy's configuration: files/envoy.yaml, which is deploy/envoy.yaml for a pod, with the values put in. */}}
{{- define "extproc.envoy" -}}
{{- if .Values.envoy.config }}{{ tpl .Values.envoy.config . }}{{ else -}}
{{- $config := .Files.Get "files/envoy.yaml" | fromYaml -}}
{{- $chain := index (index $config.static_resources.listeners 0).filter_chains 0 -}}
{{- $manager := (index $chain.filters 0).typed_config -}}
{{- $asked := (index $manager.http_filters 0).typed_config -}}
{{- $host := index $manager.route_config.virtual_hosts 0 -}}
{{- $said := $host.metadata.filter_metadata.extproc -}}
{{- if .Values.models }}{{ $_ := set $said "models" (toYaml .Values.models) }}{{ end -}}
{{- range $name, $provider := .Values.providers -}}
  {{- range $model := $provider.models -}}
    {{- $_ := set $said "models" (printf "%s: {route: %s}\n%s" (quote $model) $name $said.models) -}}
  {{- end -}}
  {{- if not (hasKey $said.routes $name) -}}
    {{- $route := dict -}}
    {{- range $host.routes }}{{ if eq .name "openai" }}{{ $route = deepCopy . }}{{ end }}{{ end -}}
    {{- $_ := set $route "name" $name -}}
    {{- $_ := set (index $route.match.headers 0).string_match "exact" $name -}}
    {{- $_ := set $route.route "cluster" $name -}}
    {{- $_ := set $host "routes" (prepend $host.routes $route) -}}
    {{- $line := printf "xds.virtual_host_metadata.filter_metadata['extproc']['routes']['%s']" $name -}}
    {{- $_ := set $asked "request_attributes" (append $asked.request_attributes $line) -}}
    {{- $cluster := dict -}}
    {{- range $config.static_resources.clusters }}{{ if eq .name "openai" }}{{ $cluster = deepCopy . }}{{ end }}{{ end -}}
    {{- $_ := set $cluster "name" $name -}}
    {{- $_ := set $cluster.load_assignment "cluster_name" $name -}}
    {{- $endpoint := (index (index $cluster.load_assignment.endpoints 0).lb_endpoints 0).endpoint -}}
    {{- $host := required (printf "providers.%s.host is needed" $name) $provider.host -}}
    {{- $_ := set $endpoint "address" (dict "socket_address" (dict "address" $host "port_value" (int ($provider.port | default 443)))) -}}
    {{- if eq (toString $provider.tls) "false" -}}
      {{- $_ := unset $cluster "transport_socket" -}}
      {{- $options := index $cluster.typed_extension_protocol_options "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" -}}
      {{- $_ := unset $options "auto_config" -}}
      {{- $_ := set $options "explicit_http_config" (dict "http_protocol_options" dict) -}}
    {{- end -}}
    {{- $_ := set $config.static_resources "clusters" (prepend $config.static_resources.clusters $cluster) -}}
  {{- else if or $provider.host $provider.port -}}
    {{- fail (printf "providers.%s: its host is that of deploy/envoy.yaml; take another name for another host" $name) -}}
  {{- end -}}
  {{- if $provider.route }}{{ $_ := set $said.routes $name (toYaml $provider.route) }}{{ end -}}
  {{- if not (hasKey $said.routes $name) }}{{ fail (printf "providers.%s.route is needed: {provider: ..., auth: ...}" $name) }}{{ end -}}
{{- end -}}
{{- if .Values.prefixes -}}
  {{- $kin := dict "openai" (list "openai_chat" "openai_responses" "openai_embeddings" "openai_endpoints") "anthropic" (list "anthropic_messages") "gemini" (list "gemini" "gemini_embeddings") "bedrock" (list "bedrock_converse") -}}
  {{- $prefixes := dict -}}
  {{- range $name, $prefix := .Values.prefixes -}}
    {{- range $one := (get $kin $name | default (list $name)) }}{{ $_ := set $prefixes $one ($prefix | default "") }}{{ end -}}
  {{- end -}}
  {{- range $host.routes -}}
    {{- if eq .name "no_such_model" -}}
      {{- $level := .metadata.filter_metadata.extproc.route | fromYaml -}}
      {{- $_ := set .metadata.filter_metadata.extproc "route" (toYaml (set $level "prefixes" $prefixes)) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- if .Values.tls.secretName -}}
  {{- $files := dict "certificate_chain" (dict "filename" "/run/tls/tls.crt") "private_key" (dict "filename" "/run/tls/tls.key") "watched_directory" (dict "path" "/run/tls") -}}
  {{- $common := dict "alpn_protocols" (list "h2" "http/1.1") "tls_certificates" (list $files) -}}
  {{- $context := dict "@type" "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext" -}}
  {{- if .Values.tls.clientCA -}}
    {{- $_ := set $common "validation_context" (dict "trusted_ca" (dict "filename" "/run/tls/ca.crt") "watched_directory" (dict "path" "/run/tls")) -}}
    {{- $_ := set $context "require_client_certificate" true -}}
  {{- end -}}
  {{- $_ := set $context "common_tls_context" $common -}}
  {{- $_ := set $chain "transport_socket" (dict "name" "envoy.transport_sockets.tls" "typed_config" $context) -}}
{{- end -}}
{{ toYaml $config }}
{{- end -}}
{{- end }}
