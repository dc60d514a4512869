/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages with options, made from bytes. */
#include <assert.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "basic/util.h"
#include "options-message.h"

sd_bus *message_bus_new(void) {
        sd_bus *bus;
        int fds[2], r;

        r = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
        assert(r == 0);
        r = sd_bus_new(&bus);
        assert(r >= 0);
        r = sd_bus_set_fd(bus, fds[0], fds[0]);
        assert(r >= 0);
        r = sd_bus_negotiate_fds(bus, 1);
        assert(r >= 0);
        r = sd_bus_start(bus);
        assert(r >= 0);
        close(fds[1]);
        return bus;
}

typedef struct Bytes {
        const uint8_t *p;
        size_t left;
} Bytes;

static uint8_t take(Bytes *b) {
        if (b->left == 0)
                return 0;
        b->left--;
        return *b->p++;
}

static uint64_t take_number(Bytes *b) {
        uint64_t v = 0;

        for (int i = 0; i < 8; i++)
                v = v << 8 | take(b);
        return v;
}

/* A text whose length is in its first byte. Characters that the bus does not carry are replaced. */
static void take_text(Bytes *b, char *buf, size_t size) {
        size_t n = take(b);

        if (n >= size)
                n = size - 1;
        for (size_t i = 0; i < n; i++) {
                uint8_t c = take(b);

                buf[i] = (char) (c == 0 || c >= 0x80 ? '?' : c);
        }
        buf[n] = 0;
}

static int append_value(sd_bus_message *m, Bytes *b) {
        char text[300];

        switch (take(b) % 10) {
        case 0:
                return sd_bus_message_append(m, "v", "t", take_number(b));
        case 1:
                return sd_bus_message_append(m, "v", "u", (uint32_t) take_number(b));
        case 2:
                take_text(b, text, sizeof(text));
                return sd_bus_message_append(m, "v", "s", text);
        case 3:
                return sd_bus_message_append(m, "v", "b", take(b) & 1);
        case 4:
                return sd_bus_message_append(m, "v", "h", STDERR_FILENO);
        case 5:
                return sd_bus_message_append(m, "v", "d", (double) take_number(b));
        case 6:
                return sd_bus_message_append(m, "v", "as", 2, "a", "b");
        case 7:
                return sd_bus_message_append(m, "v", "v", "s", "inner");
        case 8:
                return sd_bus_message_append(m, "v", "a{sv}", 1, "key", "u", 1);
        default:
                return sd_bus_message_append(m, "v", "y", take(b));
        }
}

sd_bus_message *message_from_bytes(sd_bus *bus, const uint8_t *data, size_t size) {
        static const char *const keys[] = {
                "address",   "uid",      "gid",    "backing", "fd",    "populate",
                "hugepages", "lifetime", "linger", "label",   "force", "numa",
        };
        Bytes b = { data, size };
        sd_bus_message *m;
        char text[300];
        int r;

        r = sd_bus_message_new_method_call(bus, &m, "org.mshare1", "/org/mshare1", "org.mshare1.Manager",
                                           "CreateRegion");
        assert(r >= 0);
        r = sd_bus_message_open_container(m, 'a', "{sv}");
        assert(r >= 0);
        while (b.left > 0) {
                unsigned k = take(&b) % 13;

                r = sd_bus_message_open_container(m, 'e', "sv");
                assert(r >= 0);
                if (k < ELEMENTSOF(keys))
                        r = sd_bus_message_append(m, "s", keys[k]);
                else {
                        take_text(&b, text, sizeof(text));
                        r = sd_bus_message_append(m, "s", text);
                }
                assert(r >= 0);
                r = append_value(m, &b);
                assert(r >= 0);
                r = sd_bus_message_close_container(m);
                assert(r >= 0);
        }
        r = sd_bus_message_close_container(m);
        assert(r >= 0);
        r = sd_bus_message_seal(m, 1, 0);
        assert(r >= 0);
        r = sd_bus_message_rewind(m, true);
        assert(r >= 0);
        return m;
}
