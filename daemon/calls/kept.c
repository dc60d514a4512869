/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Measures calls and copies them. It knows no methods, and does not answer calls. */

#include <errno.h>

#include "basic/util.h"
#include "errors.h"
#include "calls/kept.h"

/* A value takes at most this, with its padding. */
#define VALUE_SIZE 16

static int measure_text(const char *text, Kept *k) {
        k->bytes += text ? strlen(text) : 0;
        return k->bytes > KEPT_TEXT_MAX ? 1 : 0;
}

static int measure_basic(sd_bus_message *m, char type, Kept *k) {
        union {
                const char *text;
                int fd;
                uint64_t number;
        } v;
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;
        switch (type) {
        case 's':
        case 'o':
        case 'g':
                return measure_text(v.text, k);
        case 'h':
                return ++k->n_fds > KEPT_FDS_MAX ? 1 : 0;
        default:
                return 0;
        }
}

/* 1 as soon as the call is too large; 0; or negative errno. libsystemd limits the depth of the recursion. */
static int measure_arguments(sd_bus_message *m, Kept *k) {
        const char *contents;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0) {
                k->bytes += VALUE_SIZE;
                if (k->bytes > KEPT_TEXT_MAX)
                        return 1;
                if (!contents) {
                        r = measure_basic(m, type, k);
                        if (r != 0)
                                return r;
                        continue;
                }
                r = sd_bus_message_enter_container(m, type, contents);
                if (r < 0)
                        return r;
                r = measure_arguments(m, k);
                if (r != 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r;
}

/* As measure_arguments(), for all that can be read. */
static int measure(sd_bus_message *m, Kept *k) {
        const char *const texts[] = {
                sd_bus_message_get_path(m),   sd_bus_message_get_interface(m),
                sd_bus_message_get_member(m), sd_bus_message_get_destination(m),
                sd_bus_message_get_sender(m), sd_bus_message_get_signature(m, true),
        };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (measure_text(texts[i], k) != 0)
                        return 1;
        r = measure_arguments(m, k);
        k->bytes += KEPT_OVERHEAD;
        return r;
}

static int copy_head(sd_bus_message *m, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *copy = NULL;
        int r;

        r = sd_bus_message_new_method_call(sd_bus_message_get_bus(m), &copy, sd_bus_message_get_destination(m),
                                           sd_bus_message_get_path(m), sd_bus_message_get_interface(m),
                                           sd_bus_message_get_member(m));
        if (r >= 0 && sd_bus_message_get_sender(m))
                r = sd_bus_message_set_sender(copy, sd_bus_message_get_sender(m));
        if (r >= 0)
                r = sd_bus_message_set_expect_reply(copy, sd_bus_message_get_expect_reply(m));
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(
                        copy, sd_bus_message_get_allow_interactive_authorization(m));
        if (r < 0)
                return r;
        *ret = TAKE_PTR(copy);
        return 0;
}

/* The answer refers to the call by its cookie. */
static int seal(sd_bus_message *copy, sd_bus_message *m) {
        uint64_t cookie;
        int r;

        r = sd_bus_message_get_cookie(m, &cookie);
        return r < 0 ? r : sd_bus_message_seal(copy, cookie, 0);
}

static int copy_all(sd_bus_message *m, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *copy = NULL;
        int r;

        r = copy_head(m, &copy);
        if (r >= 0)
                r = sd_bus_message_rewind(m, true);
        if (r >= 0 && sd_bus_message_is_empty(m) == 0)
                r = sd_bus_message_copy(copy, m, true);
        if (r >= 0)
                r = seal(copy, m);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(copy);
        return 0;
}

int kept_new(sd_bus_message *m, Kept *ret, sd_bus_error *error) {
        Kept k = {};
        int r;

        r = sd_bus_message_rewind(m, true);
        if (r >= 0)
                r = measure(m, &k);
        if (r == 1)
                r = k.n_fds > KEPT_FDS_MAX
                            ? sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                                "Call '%s' has too many descriptors: expected at most %d",
                                                sd_bus_message_get_member(m), KEPT_FDS_MAX)
                            : sd_bus_error_setf(error, ERROR_LIMIT_EXCEEDED,
                                                "The path and the arguments of the call '%s' have more than %zu bytes, "
                                                "the limit for calls that must wait",
                                                sd_bus_message_get_member(m), KEPT_TEXT_MAX);
        else if (r >= 0)
                r = copy_all(m, &k.m);
        (void) sd_bus_message_rewind(m, true);
        if (r < 0)
                return r;
        *ret = k;
        return 0;
}

void kept_done(Kept *kept) {
        kept->m = sd_bus_message_unref(kept->m);
}

sd_bus_message *kept_head(sd_bus_message *m) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *copy = NULL;

        if (copy_head(m, &copy) < 0 || seal(copy, m) < 0)
                return NULL;
        return TAKE_PTR(copy);
}
