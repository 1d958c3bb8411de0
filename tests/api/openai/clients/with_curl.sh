# curl alone, as the documentation has it; the upload with and without a name.
set -eu
api="curl --silent --show-error --fail-with-body"
body='{"model": "tiny", "messages": [{"role": "user", "content": "Say one two three."}]}'
printf '{"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": %s}\n' "$body" > "$1/requests.jsonl"

id() { sed 's/.*"id":"\([^"]*\)".*/\1/'; }
field() { sed "s/.*\"$1\":\"\([^\"]*\)\".*/\1/"; }

for upload in "@$1/requests.jsonl" "<$1/requests.jsonl"; do
  case $upload in
    @*) file=$($api "$OPENAI_BASE_URL/files" -F purpose=batch -F "file=$upload" | id) ;;
    *) file=$($api "$OPENAI_BASE_URL/files" -F "file=$upload" -F purpose=batch | id) ;;
  esac
  batch=$($api "$OPENAI_BASE_URL/batches" -H 'Content-Type: application/json' \
    -d '{"input_file_id": "'"$file"'", "endpoint": "/v1/chat/completions", "completion_window": "24h"}' | id)
  tries=0
  until $api "$OPENAI_BASE_URL/batches/$batch" | grep -q '"status":"completed"'; do
    tries=$((tries + 1))
    [ $tries -lt 300 ]
    sleep 0.2
  done
  output=$($api "$OPENAI_BASE_URL/batches/$batch" | field output_file_id)
  $api "$OPENAI_BASE_URL/files/$output/content" | grep -q '"custom_id":"a".*"object":"chat.completion"'
done
$api "$OPENAI_BASE_URL/models" | grep -q tiny:latest
$api "$OPENAI_BASE_URL/chat/completions" -H 'Content-Type: application/json' -d "$body" | grep -q '"finish_reason":"stop"'
$api --no-buffer "$OPENAI_BASE_URL/chat/completions" -H 'Content-Type: application/json' \
  -d '{"stream": true, '"${body#\{}" | grep -q '^data: \[DONE\]'
$api "$OPENAI_BASE_URL/embeddings" -H 'Content-Type: application/json' \
  -d '{"model": "nomic-embed-text", "input": "a"}' | grep -q '"embedding":\['
