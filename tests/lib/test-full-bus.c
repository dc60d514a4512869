/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What libmshare does while the bus has no room for another connection: few-connections.conf allows six. */
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>

#include "bus-helpers.h"
#include "mshare.h"
#include "util.h"

#define PLACES 6

/* Takes all connections that the fake broker leaves, and frees one again by closing it. */
static unsigned int take_places(sd_bus *places[PLACES]) {
        unsigned int n = 0;
        const char *id;

        while (n < PLACES) {
                g_assert_cmpint(sd_bus_open_system(&places[n]), >=, 0);
                if (sd_bus_get_unique_name(places[n], &id) < 0) {
                        places[n] = sd_bus_unref(places[n]);
                        break;
                }
                n++;
        }
        g_assert_cmpuint(n, >, 0);
        g_assert_cmpuint(n, <, PLACES);
        return n;
}

static void patience_ends(uint64_t timeout_usec, gint64 least, gint64 most) {
        const struct mshare_acquire_options o = { .size = sizeof(o), .timeout_usec = timeout_usec };
        _cleanup_(freep) char *message = NULL;
        mshare_region *region = NULL;
        sd_bus *places[PLACES];
        gint64 begin, took;
        unsigned int n;

        make_region("full", 1 << 20, NULL, NULL);
        n = take_places(places);
        begin = g_get_monotonic_time();
        g_assert_cmpint(mshare_region_acquire("full", O_RDWR, &o, &region, &message), ==, -EUSERS);
        took = g_get_monotonic_time() - begin;
        g_assert_cmpint(took, >=, least);
        g_assert_cmpint(took, <, most);
        g_assert_nonnull(strstr(message, "no room for another connection"));
        while (n > 0)
                sd_bus_flush_close_unref(places[--n]);
        drop_region("full");
}

static void test_patience_ends(void) {
        patience_ends(400000, 400000, 2000000);
}

/* As in msharectl, because a user may have to type a password. */
static void test_patience_ends_without_a_limit(void) {
        patience_ends(UINT64_MAX, 25000000, 40000000);
}

static gpointer leave_soon(gpointer bus) {
        g_usleep(300000);
        sd_bus_flush_close_unref(bus);
        return NULL;
}

static void test_a_place_is_taken(void) {
        _cleanup_(freep) char *message = NULL;
        mshare_region *region = NULL;
        sd_bus *places[PLACES];
        GThread *thread;
        unsigned int n;

        make_region("full", 1 << 20, NULL, NULL);
        n = take_places(places);
        /* A connection belongs to one thread, from here on to the other. */
        thread = g_thread_new("leave", leave_soon, places[--n]);
        g_assert_cmpint(mshare_region_acquire("full", O_RDWR, NULL, &region, &message), ==, 0);
        g_assert_null(message);
        g_thread_join(thread);
        g_assert_cmpint(mshare_region_release(region), ==, 0);
        while (n > 0)
                sd_bus_flush_close_unref(places[--n]);
        drop_region("full");
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/full-bus/patience ends with a sentence", test_patience_ends);
        g_test_add_func("/full-bus/patience ends where answers have no limit", test_patience_ends_without_a_limit);
        g_test_add_func("/full-bus/the first place that is free is taken", test_a_place_is_taken);
        return g_test_run();
}
