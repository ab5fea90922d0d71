# Owns one RabbitMQ node, and its epmd when the third argument says so. Obeys one command a line on stdin and answers
# each with one line. Rust never drops a static, so the end of stdin, however the tests ended, kills both and removes
# their folder.
# Arguments: the folder, rabbitmq-server, and "epmd" unless another node has started it.
set -u
log=$1/log/startup.log
exec 2>>"$log"
node=
epmd=
if [ "${3:-}" = epmd ]; then
    epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 </dev/null >>"$log" 2>&1 &
    epmd=$!
fi

while read -r command argument; do
    case $command in
    start)
        "$2" </dev/null >>"$log" 2>&1 &
        node=$!
        echo "$node"
        ;;
    signal)
        kill -s "$argument" "$node"
        echo "$argument"
        ;;
    wait)
        wait "$node"
        echo ended
        ;;
    esac
done

kill -s KILL $node $epmd
wait
rm -rf "$1"
