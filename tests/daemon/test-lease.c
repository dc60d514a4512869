/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Leases: what their file names say, when they end, and how they outlive the broker. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "model/lease.h"

typedef struct Fixture {
        char *path;
        int dirfd;
        sd_event *event;
} Fixture;

static void setup(Fixture *f, gconstpointer unused) {
        f->path = g_dir_make_tmp("mshared-XXXXXX", NULL);
        f->dirfd = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(f->dirfd, >=, 0);
        g_assert_cmpint(sd_event_new(&f->event), >=, 0);
}

static void teardown(Fixture *f, gconstpointer unused) {
        const char *argv[] = { "rm", "-rf", f->path, NULL };

        sd_event_unref(f->event);
        close(f->dirfd);
        g_assert_true(
                g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL, NULL));
        g_free(f->path);
}

static LeaseRecord record(uint64_t id) {
        return (LeaseRecord){
                .region_id = 7,
                .id = id,
                .uid = 26,
                .pid = 4711,
                .access = ACCESS_READ_WRITE,
                .since_usec = 99,
                .sender = g_strdup(":1.42"),
                .unit = g_strdup("postgresql@15-main.service"),
        };
}

static int hang_up(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Lease *lease = userdata;

        /* Counted here, for the test. */
        lease->record.since_usec++;
        return sd_event_source_set_enabled(s, SD_EVENT_OFF);
}

static bool is_dropped(Fixture *f, Lease *lease) {
        while (sd_event_run(f->event, 20000) > 0)
                ;
        return lease->record.since_usec != 99;
}

static Lease *make(Fixture *f, int *ret_fd) {
        LeaseRecord r = record(1);
        Lease *lease;

        g_assert_cmpint(lease_new(f->dirfd, &r, &lease, ret_fd), ==, 0);
        g_assert_null(r.sender);
        g_assert_cmpint(lease_watch(lease, f->event, hang_up), >=, 0);
        return lease;
}

static void test_the_name_says_it_all(void) {
        LeaseRecord a = record(UINT64_C(0xffffffffffffffff)), b;
        g_autofree char *name = lease_record_format(&a);

        g_assert_cmpint(lease_record_parse(name, &b), ==, 0);
        g_assert_cmpuint(b.region_id, ==, 7);
        g_assert_cmpuint(b.id, ==, UINT64_MAX);
        g_assert_cmpuint(b.uid, ==, 26);
        g_assert_cmpint(b.pid, ==, 4711);
        g_assert_cmpint(b.access, ==, ACCESS_READ_WRITE);
        g_assert_cmpuint(b.since_usec, ==, 99);
        g_assert_cmpstr(b.sender, ==, ":1.42");
        g_assert_cmpstr(b.unit, ==, "postgresql@15-main.service");
        lease_record_done(&b);
        /* The name of a unit may be as long as that of a file. */
        g_free(a.unit);
        a.unit = g_strnfill(255, 'u');
        g_free(g_steal_pointer(&name));
        name = lease_record_format(&a);
        g_assert_cmpuint(strlen(name), <=, 255);
        g_assert_cmpint(lease_record_parse(name, &b), ==, 0);
        g_assert_null(b.unit);
        lease_record_done(&a);
        lease_record_done(&b);
}

static void test_other_names_are_none(void) {
        static const char *const bad[] = {
                "",
                ",",
                "a",
                ",,,,,,,",
                "0000000000000007,0000000000000001,26,1,rw,99,:1.1",
                "0000000000000007,0000000000000001,26,1,rw,99,:1.1,u,x",
                "7,0000000000000001,26,1,rw,99,:1.1,u",
                "000000000000000g,0000000000000001,26,1,rw,99,:1.1,u",
                "0000000000000007,0000000000000001,-1,1,rw,99,:1.1,u",
                "0000000000000007,0000000000000001,4294967295,1,rw,99,:1.1,u",
                "0000000000000007,0000000000000001,26,4294967295,rw,99,:1.1,u",
                "0000000000000007,0000000000000001,26,1,w,99,:1.1,u",
                "0000000000000007,0000000000000001,26,1,rw,x,:1.1,u",
                "0000000000000007,0000000000000001,26,1,rw,99,org.name,u",
        };
        LeaseRecord r = {};

        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
                g_assert_cmpint(lease_record_parse(bad[i], &r), ==, -EBADMSG);
                g_assert_null(r.unit);
        }
}

static void test_closing_drops_it(Fixture *f, gconstpointer unused) {
        struct stat st;
        Lease *lease;
        int fd;

        lease = make(f, &fd);
        g_assert_cmpint(fstat(fd, &st), ==, 0);
        g_assert_cmpint(st.st_mode & 0777, ==, 0600);
        g_assert_false(is_dropped(f, lease));
        close(fd);
        g_assert_true(is_dropped(f, lease));
        lease_drop(lease, f->dirfd);
        g_assert_cmpint(rmdir(f->path), ==, 0);
        g_assert_cmpint(mkdir(f->path, 0700), ==, 0);
}

static void test_forks_keep_it(Fixture *f, gconstpointer unused) {
        pid_t children[20];
        Lease *lease;
        int fd;

        lease = make(f, &fd);
        for (size_t i = 0; i < G_N_ELEMENTS(children); i++) {
                children[i] = fork();
                if (children[i] == 0) {
                        pause();
                        _exit(0);
                }
        }
        close(fd);
        for (size_t i = 0; i < G_N_ELEMENTS(children); i++) {
                g_assert_false(is_dropped(f, lease));
                kill(children[i], SIGKILL);
                waitpid(children[i], NULL, 0);
        }
        g_assert_true(is_dropped(f, lease));
        lease_drop(lease, f->dirfd);
}

static void test_writing_into_it_is_no_hang_up(Fixture *f, gconstpointer unused) {
        char block[4096] = {};
        Lease *lease;
        int fd, full = 0;

        lease = make(f, &fd);
        while (write(fd, block, sizeof(block)) > 0)
                full++;
        g_assert_cmpint(full, <=, 16);
        g_assert_false(is_dropped(f, lease));
        close(fd);
        g_assert_true(is_dropped(f, lease));
        lease_drop(lease, f->dirfd);
}

static void reopen(Fixture *f, Lease **lease) {
        _cleanup_(lease_record_done) LeaseRecord r = {};
        g_autofree char *file = g_strdup((*lease)->file);

        /* The broker stops and starts again. */
        lease_free(*lease);
        g_assert_cmpint(lease_record_parse(file, &r), ==, 0);
        g_assert_cmpint(lease_open(f->dirfd, file, &r, lease), ==, 0);
        g_assert_cmpint(lease_watch(*lease, f->event, hang_up), >=, 0);
}

static void test_it_outlives_the_broker(Fixture *f, gconstpointer unused) {
        Lease *lease;
        int fd;

        lease = make(f, &fd);
        for (int i = 0; i < 3; i++) {
                reopen(f, &lease);
                g_assert_false(is_dropped(f, lease));
        }
        close(fd);
        g_assert_true(is_dropped(f, lease));
        lease_drop(lease, f->dirfd);
}

static void test_one_that_ended_meanwhile_is_noticed(Fixture *f, gconstpointer unused) {
        Lease *lease;
        int fd;

        lease = make(f, &fd);
        close(fd);
        reopen(f, &lease);
        g_assert_true(is_dropped(f, lease));
        lease_drop(lease, f->dirfd);
}

static void test_what_is_no_fifo_is_no_lease(Fixture *f, gconstpointer unused) {
        LeaseRecord r = record(3);
        g_autofree char *name = lease_record_format(&r);
        Lease *lease = NULL;
        int fd;

        fd = openat(f->dirfd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        g_assert_cmpint(fd, >=, 0);
        close(fd);
        g_assert_cmpint(lease_open(f->dirfd, name, &r, &lease), ==, -EBADMSG);
        g_assert_cmpint(unlinkat(f->dirfd, name, 0), ==, 0);
        g_assert_cmpint(symlinkat("/dev/null", f->dirfd, name), ==, 0);
        g_assert_cmpint(lease_open(f->dirfd, name, &r, &lease), <, 0);
        g_assert_null(lease);
        lease_record_done(&r);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/lease/name", test_the_name_says_it_all);
        g_test_add_func("/lease/other-names", test_other_names_are_none);
        g_test_add("/lease/close", Fixture, NULL, setup, test_closing_drops_it, teardown);
        g_test_add("/lease/fork", Fixture, NULL, setup, test_forks_keep_it, teardown);
        g_test_add("/lease/write", Fixture, NULL, setup, test_writing_into_it_is_no_hang_up, teardown);
        g_test_add("/lease/restart", Fixture, NULL, setup, test_it_outlives_the_broker, teardown);
        g_test_add("/lease/ended", Fixture, NULL, setup, test_one_that_ended_meanwhile_is_noticed, teardown);
        g_test_add("/lease/no-fifo", Fixture, NULL, setup, test_what_is_no_fifo_is_no_lease, teardown);
        return g_test_run();
}
