# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Clients of regions for these scripts: each is a guest-client, a process of its own user. Source tap.bash first.
# shellcheck disable=SC2154 # $out is of tap.bash

client=/usr/libexec/mshare/tests/guest-client

# Each client is a process with a number. It reads commands from one pipe and answers on another.
declare -A to from pid
start() { # start N USER
        local fd
        mkfifo "$out/to$1" "$out/from$1"
        (
                # The pipes of the other clients end when this script closes them.
                for fd in "${to[@]}" "${from[@]}"; do exec {fd}>&-; done
                exec setpriv --reuid="$2" --regid="$2" --clear-groups $client
        ) < "$out/to$1" > "$out/from$1" 2> "$out/err$1" &
        pid[$1]=$!
        exec {fd}> "$out/to$1"
        to[$1]=$fd
        exec {fd}< "$out/from$1"
        from[$1]=$fd
        tell "$1" ready
}
# Reads one answer into $answer; the exit status says whether it is an "ok".
hear() {
        answer='nothing: the client has exited'
        read -r -t 30 answer <&"${from[$1]}"
        echo "client $1: $answer"
        [[ $answer == ok* ]]
}
tell() { # tell N COMMAND
        [ "$2" = ready ] || echo "$2" >&"${to[$1]}"
        hear "$1"
}
says() { # says N COMMAND ANSWER
        tell "$1" "$2"
        [ "$answer" = "$3" ]
}
refuses() { # refuses N COMMAND ERRNO WORDS
        ! tell "$1" "$2" && [[ $answer == "error $3 "*"$4"* ]]
}
at_most() { # at_most N COMMAND NUMBER
        tell "$1" "$2" && [ "${answer#ok }" -le "$3" ]
}
end() { # end N
        local fd
        for fd in "${to[$1]}" "${from[$1]}"; do exec {fd}>&-; done
        unset "to[$1]" "from[$1]"
        wait "${pid[$1]}"
}
stat_of() { msharectl show -p "$2" --value "$1"; } # stat_of REGION PROPERTY
