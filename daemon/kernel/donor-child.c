/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The donor process itself ("mshared --donor"): creates the region and lets its memory be mapped, or resizes the region, and
 * reports to the broker through a pipe. It knows neither the bus nor limits.
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "kernel/donor-child.h"
#include "kernel/donor-map.h"
#include "kernel/donor-report.h"
#include "kernel/donor-resize.h"
#include "kernel/populate.h"

/* The donor needs no capabilities: what it maps is its own, or was opened by the caller. */
static void drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct data[2] = {};

        if (geteuid() == 0)
                return;
        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        (void) syscall(SYS_capset, &header, data);
}

/*
 * mshare() moves the creator's mappings in the range into the region. So nothing of this process, such as its code or stack,
 * may be there.
 */
static int check_range(const DonorSpec *spec) {
        void *want = (void *) (uintptr_t) spec->address, *p;
        int e;

        p = mmap(want, spec->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1,
                 0);
        if (p == MAP_FAILED)
                return donor_failed(DONOR_RANGE, errno, 0);
        e = p == want ? 0 : ENOMEM;
        if (munmap(p, spec->length) < 0)
                e = errno;
        return e ? donor_failed(DONOR_RANGE, e, 0) : 0;
}

/* The kernel would silently leave out nodes that it cannot use. */
static int check_nodes(const KernelOps *ops, const DonorSpec *spec) {
        NumaNodes nodes;
        int node, r;

        if (spec->numa.mode == NUMA_DEFAULT)
                return 0;
        r = ops->nodes(&nodes);
        if (r < 0)
                return donor_failed(DONOR_NODES, -r, 0);
        node = spec->numa.mode == NUMA_BIND ? numa_first_missing(&spec->numa.nodes, &nodes) : -1;
        return node < 0 ? 0 : donor_failed(DONOR_NODES, EINVAL, (uint64_t) node);
}

/* The pipe must hold one message of the right size, whole. */
static int read_message(DonorMessage *ret) {
        struct {
                DonorMessage message;
                char more;
        } buffer;
        size_t n = 0;

        while (n <= sizeof(*ret)) {
                ssize_t k = read(DONOR_MESSAGE_FD, (char *) &buffer + n, sizeof(*ret) + 1 - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
        }
        if (n != sizeof(*ret))
                return -EBADMSG;
        (void) close(DONOR_MESSAGE_FD);
        *ret = buffer.message;
        return 0;
}

/* Whether the spec can be what a broker of this version sends for the region of this name. */
static bool spec_is_valid(const DonorSpec *spec, const char *name) {
        uint64_t end;

        return streq(spec->name, name) && region_name_is_adoptable(name) && spec->size > 0 &&
               spec->size <= spec->length && !__builtin_add_overflow(spec->address, spec->length, &end) &&
               spec->backing < _BACKING_MAX && spec->hugepages < _HUGEPAGES_MAX && spec->numa.mode <= NUMA_BIND;
}

static int receive_spec(const char *name, DonorMessage *message) {
        int r = read_message(message);

        if (r < 0)
                return r;
        if (!memchr(message->name, 0, sizeof(message->name)))
                return -EBADMSG;
        message->spec.name = message->name;
        return spec_is_valid(&message->spec, name) ? 0 : -EBADMSG;
}

/*
 * If the broker exited before prctl() asked for the signal, the signal never comes. But then the pipe of the reports has no
 * reader.
 */
static bool daemon_has_exited(void) {
        struct pollfd pipe = { .fd = DONOR_REPORT_FD };

        return poll(&pipe, 1, 0) != 0;
}

int donor_main(const KernelOps *ops, int argc, char **argv) {
        DonorMessage message = {};
        const DonorSpec *spec = &message.spec;
        int r;

        if (argc != 1 || fcntl(DONOR_REPORT_FD, F_GETFD) < 0 || receive_spec(argv[0], &message) < 0) {
                (void) fprintf(stderr, "mshared --donor is for internal use by mshared.\n");
                return 2;
        }
        drop_capabilities();
        be_expendable();
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (daemon_has_exited())
                return EXIT_FAILURE;

        if (check_nodes(ops, spec) < 0)
                return EXIT_FAILURE;
        if (spec->extent > 0) {
                if (donor_resize(ops, spec) < 0)
                        return EXIT_FAILURE;
                donor_report(DONOR_DONE, DONOR_POPULATE, 0, spec->size);
                return EXIT_SUCCESS;
        }
        if (check_range(spec) < 0)
                return EXIT_FAILURE;
        /* Mode 0: no other process can attach until the broker has set owner and mode. */
        r = ops->mshare(spec->name, spec->address, spec->length, O_CREAT | O_EXCL | O_RDWR, 0);
        if (r < 0) {
                (void) donor_failed(DONOR_MSHARE, -r, 0);
                return EXIT_FAILURE;
        }
        donor_report(DONOR_CREATED, DONOR_MSHARE, 0, 0);
        if (spec->backing != BACKING_EMPTY && donor_map(ops, spec, 0, spec->size) < 0)
                return EXIT_FAILURE;
        donor_report(DONOR_DONE, DONOR_POPULATE, 0, spec->size);
        return EXIT_SUCCESS;
}
