#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A region in a container of an ordinary user: private user, mount and process namespaces, no msharefs, and a filter
# that answers ENOSYS to unknown system calls, as container managers have. Also, what a region maps.
# limit: 600
# follows: library
# long-kernel: debug
# long-limit: 900
# shellcheck disable=SC2016,SC2317
set -u
# shellcheck source=tests/guest/tap.bash
. ./tap.bash

client=/usr/libexec/mshare/tests/guest-client
region=/sys/fs/mshare/box

needs_mshare
needs_program $client

# What a container manager does, with the tools of the guest.
cat > "$out/contain" << 'SH'
#!/bin/bash
exec unshare --user --map-root-user --mount --pid --fork --mount-proc bash -c 'mount -t tmpfs none /sys && exec "$@"' - "$@"
SH
chmod 755 "$out" "$out/contain"
contained() { # contained COMMAND...
        systemd-run --quiet --pipe --wait -p User=user1000 -p 'SystemCallFilter=@system-service @mount' \
                -p SystemCallErrorNumber=ENOSYS "$out/contain" "$@"
}
window() { python3 -c 'import struct; print("%#x %#x" % struct.unpack("<QQ", open("/sys/fs/mshare/box", "rb").read()))'; }
answers() { # answers PATTERN COMMAND...: the last line of a client that executes standard input
        local pattern=$1
        shift
        "$@" | tee "$out/said"
        tail -n 1 "$out/said" | grep -Eq "$pattern"
}

systemctl enable --now mshared 2> /dev/null
check 'a region' msharectl create -q box 64M --owner=1000:1000
check 'a container has no msharefs' contained sh -c '! [ -e /sys/fs/mshare ]'
check 'nor mshare()' answers '^error 38 ' contained $client <<< "raw box rw $(window)"
check 'but the library attaches' answers '^ok word$' contained $client <<< $'acquire box rw\nput 4096 word\nget 4096'
check 'the same memory as elsewhere' answers '^ok word$' setpriv --reuid=1000 --regid=1000 --clear-groups $client \
        <<< $'acquire box r\nget 4096'
msharectl create -q theirs 1M
check "another user's region is refused there, too" answers '^error 13 ' contained $client <<< 'acquire theirs r'
check 'a server with the preload library has its memory there' answers \
        "Placed 16777216 bytes of shared memory in region 'box', from byte 0" contained sh -c '
                LD_PRELOAD=libmshare-preload.so MSHARE_REGION=box MSHARE_MIN_SIZE=1M \
                        python3 -c "import mmap; mmap.mmap(-1, 16 << 20).write(b\"server\")" 2>&1'
check 'and no sharer is left in the region' is 0 msharectl show -p NSharers --value box

# A descriptor that the process inherits, without a bus.
exec 7<> $region
check 'a descriptor that was handed on serves without the bus' setpriv --reuid=1000 --regid=1000 --clear-groups \
        "$out/contain" env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nowhere python3 -c '
import ctypes, os, struct
start, size = struct.unpack("<QQ", os.pread(7, 16, 0))
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
assert libc.mmap(None, size, 3, 1, 7, 0) == start
assert ctypes.string_at(start, 6) == b"server"'
exec 7>&-

# Debian's own tools, on a root that has the system's /usr and nothing else. They are given the bus's socket, and no more.
# podman is not in the guest, so its points run only where it has been installed.
bus=/run/dbus/system_bus_socket
make_root() { # make_root DIR USER
        local dir
        mkdir -p "$1"/{usr,etc,proc,sys,dev,tmp,var/tmp,root,run/dbus}
        for dir in bin lib lib64 sbin; do ln -s usr/$dir "$1/$dir"; done
        cp /usr/lib/os-release "$1/etc/"
        touch "$1$bus"
        chown -R "$2:$2" "$1"
}
serves() { # serves NAME COMMAND...: COMMAND runs the rest of its arguments in a container, as what is user 1000 outside
        local name=$1
        shift
        check "$name: the library attaches" answers '^ok word$' "$@" $client <<< $'acquire box rw\nput 4096 word\nget 4096'
        check "$name: where mshare() is not known" answers '^error 38 ' "$@" $client <<< "raw box rw $(window)"
        check "$name: another user's region is refused" answers '^error 13 ' "$@" $client <<< 'acquire theirs r'
        check "$name: a server has its memory in a region" answers "Placed 16777216 bytes of shared memory in region 'box'" "$@" \
                env LD_PRELOAD=libmshare-preload.so MSHARE_REGION=box MSHARE_MIN_SIZE=1M \
                sh -c 'python3 -c "import mmap; mmap.mmap(-1, 16 << 20).write(b\"server\")" 2>&1'
}
make_root /run/box 0
if command -v systemd-nspawn > /dev/null; then
        nspawn() {
                systemd-run --quiet --pipe --wait -p Delegate=yes systemd-nspawn --quiet --register=no --keep-unit \
                        --console=pipe --directory=/run/box --bind-ro=/usr --bind-ro=$bus "$@"
        }
        serves systemd-nspawn nspawn setpriv --reuid=1000 --regid=1000 --clear-groups
        serves 'systemd-nspawn with users of its own' nspawn --private-users=1000:65536
fi
if command -v podman > /dev/null; then
        podman=(podman --cgroup-manager=cgroupfs --events-backend=none run -i --rm --network=host --log-driver=none
                -v /usr:/usr:ro -v "$bus:$bus")
        as_root() { STORAGE_DRIVER=vfs "${podman[@]}" --user 1000:1000 --rootfs /run/box "$@"; }
        serves podman as_root
        make_root /run/box-of-user 1000
        install -d -m 700 -o 1000 -g 1000 /run/user/1000 /run/home
        as_user() {
                (cd /run/home && setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/run/home XDG_RUNTIME_DIR=/run/user/1000 \
                        STORAGE_DRIVER=vfs "${podman[@]}" --cgroups=disabled --rootfs /run/box-of-user "$@")
        }
        serves 'podman of a user' as_user
fi

# What it maps.
check 'what it maps' bash -c "
        msharectl maps box
        msharectl maps box --json=short | python3 -c '
import json, struct, sys
start, _ = struct.unpack(\"<QQ\", open(\"$region\", \"rb\").read())
(m,) = json.load(sys.stdin)
assert (m[\"start\"], m[\"end\"] - start, m[\"permissions\"]) == (start, 64 << 20, \"rw-s\"), m'"
check 'is not shown to a user that may not read it' bash -c '
        setpriv --reuid=65534 --regid=65534 --clear-groups msharectl maps box; [ $? = 4 ]'
check 'and of no other region' bash -c 'msharectl maps nowhere; [ $? = 3 ]'
check 'they go' msharectl remove box theirs

echo "1..$count"
