# One temporary PostgreSQL server, which lives as long as whoever holds the standard input.
#
#     sh cluster.sh BIN [SETTING=VALUE ...]
#
# BIN holds initdb, pg_ctl and psql. The first line of output is `PORT DIRECTORY`; after that every line
# of input is a command (start, stop, restart, kill, pgbouncer, pgbouncer-following), answered by one
# line. At the end of the input, which comes also when the suite is killed, server and directory go.
set -eu
PATH=$PATH:/usr/sbin
bin=$1
shift
directory=$(mktemp -d /tmp/tenantry-postgres.XXXXXX)

finish() {
    trap - EXIT
    for bouncer in "$directory"/pgbouncer*.pid; do
        [ ! -f "$bouncer" ] || kill "$(cat "$bouncer")" || true
    done
    "$bin/pg_ctl" -D "$directory/data" -m immediate stop || true
    rm -rf "$directory"
} >/dev/null 2>&1
trap finish EXIT
# PIPE: whoever started it may be gone before it hears of the port.
trap 'exit 1' HUP INT PIPE TERM

control() {
    "$bin/pg_ctl" -D "$directory/data" -l "$directory/log" -s -w "$@" </dev/null >/dev/null 2>&1
}

# A port below those that the system hands out by itself, tried until one is free.
any_port() {
    echo $((15000 + $(od -An -N2 -tu2 /dev/urandom) % 16000))
}

# The default collation is not the bytewise one, and the time zone has an odd offset: what depends
# on either shows.
"$bin/initdb" -D "$directory/data" -U postgres -A trust -E UTF8 --no-sync --no-instructions \
    --locale-provider=icu --icu-locale=en-US --locale=C >"$directory/initdb.log" 2>&1 ||
    { cat "$directory/initdb.log" >&2; exit 1; }
{
    printf '%s\n' "listen_addresses = '127.0.0.1'" "unix_socket_directories = '$directory'" \
        'fsync = off' 'full_page_writes = off' 'synchronous_commit = off' 'autovacuum = off' \
        'max_connections = 200' 'shared_buffers = 32MB' "timezone = 'Asia/Kathmandu'" "$@"
} >>"$directory/data/postgresql.conf"
printf '%s\n' 'local all all trust' 'host all with_password 127.0.0.1/32 scram-sha-256' \
    'host all all 127.0.0.1/32 trust' >"$directory/data/pg_hba.conf"

for attempt in 1 2 3 4 5 6 7 8; do
    port=$(any_port)
    echo "port = $port" >>"$directory/data/postgresql.conf"
    ! control start || break
    [ "$attempt" != 8 ] || { cat "$directory/log" >&2; exit 1; }
done
"$bin/psql" -h "$directory" -p "$port" -U postgres -d postgres -q -v ON_ERROR_STOP=1 -c "
    CREATE ROLE tenantry_owner LOGIN; CREATE ROLE tenantry_app LOGIN;
    CREATE ROLE tenantry_cross_tenant LOGIN; CREATE ROLE with_password LOGIN PASSWORD 'right'" >&2
echo "$port $directory"

# Transaction mode; every database and role of the server, passwords aside. The arguments are a name
# and how many prepared statements PgBouncer follows, which it can from 1.21 on.
start_pgbouncer() {
    files=$directory/$1
    minor=$(pgbouncer --version 2>/dev/null | sed -n 's/^PgBouncer 1\.\([0-9]*\).*/\1/p')
    follows="max_prepared_statements = $2"
    if [ "${minor:-0}" -lt 21 ]; then
        follows=
        [ "$2" = 0 ] || { echo none; return; }
    fi
    "$bin/psql" -h "$directory" -p "$port" -U postgres -d postgres -q -A -t \
        -c "SELECT format('\"%s\" \"\"', rolname) FROM pg_roles WHERE rolcanlogin" \
        >"$files.users"
    for attempt in 1 2 3 4 5 6 7 8; do
        bouncer=$(any_port)
        printf '%s\n' '[databases]' "* = host=127.0.0.1 port=$port" '[pgbouncer]' \
            'listen_addr = 127.0.0.1' "listen_port = $bouncer" 'unix_socket_dir =' \
            'auth_type = trust' "auth_file = $files.users" 'pool_mode = transaction' \
            'default_pool_size = 2' 'max_client_conn = 200' "$follows" \
            "pidfile = $files.pid" "logfile = $files.log" >"$files.ini"
        pgbouncer -d -q "$files.ini" </dev/null >/dev/null 2>&1 || continue
        # It leaves the foreground before it listens.
        for look in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
            if "$bin/pg_isready" -q -h 127.0.0.1 -p "$bouncer"; then
                echo "$bouncer"
                return
            fi
            sleep 0.1
        done
    done
    echo "failed: $(tail -n 1 "$files.log" 2>/dev/null || echo pgbouncer is not installed)"
}

answer() {
    if "$@"; then echo 'done'; else echo "failed: $(tail -n 1 "$directory/log")"; fi
}

while read -r command; do
    case $command in
    start) answer control start ;;
    stop) answer control -m fast stop ;;
    restart) answer control -m fast restart ;;
    kill) answer control -m immediate stop ;;
    pgbouncer) start_pgbouncer pgbouncer 0 ;;
    # Fewer than a test has, so that it forgets some and prepares them anew.
    pgbouncer-following) start_pgbouncer pgbouncer-following 5 ;;
    *) echo "failed: no such command" ;;
    esac
done
