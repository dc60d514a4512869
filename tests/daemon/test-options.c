/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The options of methods: what is accepted, and the error for what is not. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>

#include "../fuzz/options-message.h"
#include "bus/options.h"

typedef struct Fixture {
        sd_bus *bus;
        sd_bus_message *m;
        sd_bus_error error;
        CreateRequest request;
} Fixture;

static void setup(Fixture *f, gconstpointer unused) {
        f->bus = message_bus_new();
        f->error = SD_BUS_ERROR_NULL;
        f->request = (CreateRequest) CREATE_REQUEST_INIT;
}

static void reset(Fixture *f) {
        f->m = sd_bus_message_unref(f->m);
        sd_bus_error_free(&f->error);
        create_request_done(&f->request);
}

static void teardown(Fixture *f, gconstpointer unused) {
        reset(f);
        sd_bus_close_unref(f->bus);
}

static sd_bus_message *begin(Fixture *f) {
        reset(f);
        g_assert_cmpint(sd_bus_message_new_method_call(f->bus, &f->m, "org.mshare1", "/org/mshare1",
                                                       "org.mshare1.Manager", "CreateRegion"),
                        >=, 0);
        return f->m;
}

static int finish(Fixture *f) {
        int r;

        g_assert_cmpint(sd_bus_message_seal(f->m, 1, 0), >=, 0);
        g_assert_cmpint(sd_bus_message_rewind(f->m, true), >=, 0);
        r = options_read_create(f->m, &f->request, &f->error);
        if (r >= 0)
                r = create_request_check(&f->request, &f->error);
        if (r < 0)
                g_assert_cmpstr(f->error.name, ==, SD_BUS_ERROR_INVALID_ARGS);
        return r;
}

static void test_an_empty_map_means_defaults(Fixture *f, gconstpointer unused) {
        g_assert_cmpint(sd_bus_message_append(begin(f), "a{sv}", 0), >=, 0);
        g_assert_cmpint(finish(f), ==, 0);
        g_assert_cmpint(f->request.backing, ==, BACKING_ANONYMOUS);
        g_assert_cmpint(f->request.lifetime, ==, LIFETIME_PERSISTENT);
        g_assert_cmpint(f->request.hugepages, ==, HUGEPAGES_DEFAULT);
        g_assert_cmpint(f->request.numa.mode, ==, NUMA_DEFAULT);
        g_assert_cmpuint(f->request.uid, ==, (uid_t) -1);
        g_assert_false(f->request.populate || f->request.address_set);
}

static void test_every_option_is_read(Fixture *f, gconstpointer unused) {
        g_assert_cmpint(sd_bus_message_append(begin(f), "a{sv}", 10, "address", "t", UINT64_C(17) << 40, "uid", "u", 26,
                                              "gid", "u", 27, "backing", "s", "memfd", "populate", "b", 1, "hugepages",
                                              "s", "never", "lifetime", "s", "while-leased", "linger", "t", UINT64_C(5),
                                              "label", "s", "text", "numa", "s", "bind:1,5"),
                        >=, 0);
        g_assert_cmpint(finish(f), ==, 0);
        g_assert_true(f->request.address_set && f->request.populate);
        g_assert_cmpuint(f->request.address, ==, UINT64_C(17) << 40);
        g_assert_cmpuint(f->request.uid, ==, 26);
        g_assert_cmpuint(f->request.gid, ==, 27);
        g_assert_cmpint(f->request.backing, ==, BACKING_MEMFD);
        g_assert_cmpint(f->request.hugepages, ==, HUGEPAGES_NEVER);
        g_assert_cmpint(f->request.numa.mode, ==, NUMA_BIND);
        g_assert_cmpuint(f->request.numa.nodes.bits[0], ==, 0x22);
        g_assert_cmpint(f->request.lifetime, ==, LIFETIME_WHILE_LEASED);
        g_assert_cmpuint(f->request.linger_usec, ==, 5);
        g_assert_cmpstr(f->request.label, ==, "text");
}

static void test_a_file_is_kept_open(Fixture *f, gconstpointer unused) {
        int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC), path = open("/etc/passwd", O_PATH | O_CLOEXEC);

        g_assert_cmpint(sd_bus_message_append(begin(f), "a{sv}", 2, "backing", "s", "file", "fd", "h", fd), >=, 0);
        g_assert_cmpint(finish(f), ==, 0);
        f->m = sd_bus_message_unref(f->m);
        g_assert_cmpint(fcntl(f->request.fd, F_GETFD), ==, FD_CLOEXEC);
        g_assert_cmpint(f->request.fd, !=, fd);
        /* A mode that gives no access at all. */
        g_assert_cmpint(sd_bus_message_append(begin(f), "a{sv}", 2, "backing", "s", "file", "fd", "h", path), >=, 0);
        g_assert_cmpint(finish(f), <, 0);
        close(fd);
        close(path);
}

static void expect(Fixture *f, const char *text) {
        g_assert_cmpint(finish(f), <, 0);
        if (!strstr(f->error.message, text))
                g_error("'%s' is not in '%s'", text, f->error.message);
}

static void test_wrong_options_are_named(Fixture *f, gconstpointer unused) {
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "colour", "s", "red");
        expect(f, "'colour'");
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "force", "b", 1);
        expect(f, "'force'");
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "numa", "s", "bind:1024");
        expect(f, "'bind:1024'");
        (void) sd_bus_message_append(begin(f), "a{sv}", 2, "numa", "s", "bind:0", "backing", "s", "empty");
        expect(f, "'numa' is 'bind:0', which requires backing");
        (void) sd_bus_message_append(begin(f), "a{sv}", 2, "uid", "u", 1, "uid", "u", 2);
        expect(f, "twice");
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "uid", "t", UINT64_C(1));
        expect(f, "'t': expected 'u'");
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "label", "as", 1, "x");
        expect(f, "'as': expected 's'");
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "label", "v", "s", "x");
        expect(f, "'v': expected 's'");
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "backing", "s", "unknown");
        expect(f, "'unknown'");
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "linger", "t", UINT64_C(1));
        expect(f, "while-leased");
}

static void test_removal_knows_force_alone(Fixture *f, gconstpointer unused) {
        bool force = false;

        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "force", "b", 1);
        (void) sd_bus_message_seal(f->m, 1, 0);
        (void) sd_bus_message_rewind(f->m, true);
        g_assert_cmpint(options_read_remove(f->m, &force, &f->error), >=, 0);
        g_assert_true(force);
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "uid", "u", 1);
        (void) sd_bus_message_seal(f->m, 1, 0);
        (void) sd_bus_message_rewind(f->m, true);
        g_assert_cmpint(options_read_remove(f->m, &force, &f->error), <, 0);
        g_assert_false(force);
        g_assert_nonnull(strstr(f->error.message, "force"));
}

static void test_a_resize_knows_force_and_populate(Fixture *f, gconstpointer unused) {
        ResizeRequest request = {};

        (void) sd_bus_message_append(begin(f), "a{sv}", 2, "force", "b", 1, "populate", "b", 1);
        (void) sd_bus_message_seal(f->m, 1, 0);
        (void) sd_bus_message_rewind(f->m, true);
        g_assert_cmpint(options_read_resize(f->m, &request, &f->error), >=, 0);
        g_assert_true(request.force && request.populate);
        (void) sd_bus_message_append(begin(f), "a{sv}", 1, "force", "s", "yes");
        (void) sd_bus_message_seal(f->m, 1, 0);
        (void) sd_bus_message_rewind(f->m, true);
        g_assert_cmpint(options_read_resize(f->m, &request, &f->error), <, 0);
        g_assert_nonnull(strstr(f->error.message, "force"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add("/options/defaults", Fixture, NULL, setup, test_an_empty_map_means_defaults, teardown);
        g_test_add("/options/all", Fixture, NULL, setup, test_every_option_is_read, teardown);
        g_test_add("/options/file", Fixture, NULL, setup, test_a_file_is_kept_open, teardown);
        g_test_add("/options/wrong", Fixture, NULL, setup, test_wrong_options_are_named, teardown);
        g_test_add("/options/remove", Fixture, NULL, setup, test_removal_knows_force_alone, teardown);
        g_test_add("/options/resize", Fixture, NULL, setup, test_a_resize_knows_force_and_populate, teardown);
        return g_test_run();
}
