/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command run: executes a program with the preload library and a region in its environment. The library, not this
 * command, acquires the region.
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "mshare.h"
#include "quantity.h"
#include "util.h"
#include "verbs.h"

#define PRELOAD "libmshare-preload.so"

/* The preload library is in the folder of the libmshare that this program uses. */
static int find_preload(char **ret) {
        _cleanup_(freep) char *path = NULL, *absolute = NULL;
        const char *slash;
        Dl_info info;
        void *symbol;

        symbol = dlsym(RTLD_DEFAULT, "mshare_region_acquire");
        if (!symbol || dladdr(symbol, &info) == 0 || !(slash = strrchr(info.dli_fname, '/')))
                return -ENOENT;
        if (asprintf(&path, "%.*s/" PRELOAD, (int) (slash - info.dli_fname), info.dli_fname) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        absolute = realpath(path, NULL);
        if (!absolute)
                return -xerrno();
        /* The dynamic linker would only warn, and start the command without the library. */
        if (access(absolute, R_OK) < 0)
                return -xerrno();
        *ret = TAKE_PTR(absolute);
        return 0;
}

static void region_releasep(mshare_region **region) {
        (void) mshare_region_release(*region);
}

/* The lease stays open across exec: the command and its children hold it until they exit. */
static int lease(const Arguments *a, mshare_region **ret) {
        const struct mshare_acquire_options options = {
                .size = sizeof(options),
                /* polkit does not ask root. */
                .timeout_usec = a->ask_password && geteuid() != 0 ? UINT64_MAX : 0,
                .flags = MSHARE_ACQUIRE_DETACHED | (a->ask_password ? MSHARE_ACQUIRE_INTERACTIVE : 0),
        };
        _cleanup_(agent_close) Agent agent = AGENT_NONE;
        _cleanup_(region_releasep) mshare_region *region = NULL;
        _cleanup_(freep) char *message = NULL;
        int r;

        agent_open(&agent, a->ask_password);
        r = mshare_region_acquire(a->names[0], O_RDWR, &options, &region, &message);
        if (r < 0) {
                complain("%s", message ?: strerror(-r));
                return STATUS_RUN_FAILED;
        }
        if (fcntl(mshare_region_lease_fd(region), F_SETFD, 0) < 0) {
                complain("Cannot keep the lease: %s", strerror(xerrno()));
                return STATUS_RUN_FAILED;
        }
        *ret = TAKE_PTR(region);
        return STATUS_OK;
}

/* Gets the library and the lease, which the command needs to be in the region. Returns an exit status. */
static int prepare(const Arguments *a, char **ret_preload, mshare_region **ret_region) {
        int r;

        r = find_preload(ret_preload);
        if (r < 0) {
                complain("Cannot find " PRELOAD " beside libmshare: %s", strerror(-r));
                return STATUS_RUN_FAILED;
        }
        return lease(a, ret_region);
}

static int set_environment(const Arguments *a, const char *preload) {
        _cleanup_(freep) char *value = NULL;
        const char *before = getenv("LD_PRELOAD");

        if (asprintf(&value, "%s%s%s", preload, before && before[0] ? ":" : "", before ?: "") < 0) {
                value = NULL;
                return -ENOMEM;
        }
        if (setenv("LD_PRELOAD", value, 1) < 0 || setenv("MSHARE_REGION", a->names[0], 1) < 0 ||
            (a->fallback && setenv("MSHARE_FALLBACK", a->fallback, 1) < 0) ||
            (a->min_size && setenv("MSHARE_MIN_SIZE", a->min_size, 1) < 0))
                return -xerrno();
        return 0;
}

int verb_run(const Arguments *a) {
        _cleanup_(region_releasep) mshare_region *region = NULL;
        _cleanup_(freep) char *preload = NULL;
        uint64_t min_size;
        int r;

        if (a->fallback && !streq(a->fallback, "yes") && !streq(a->fallback, "no")) {
                complain("Invalid --fallback '%s': expected yes or no", a->fallback);
                return STATUS_RUN_FAILED;
        }
        if (a->min_size && parse_amount(a->min_size, &min_size) < 0) {
                complain("Invalid --min-size '%s': expected " AMOUNT_FORM, a->min_size);
                return STATUS_RUN_FAILED;
        }

        r = prepare(a, &preload, &region);
        if (r != STATUS_OK && !(a->fallback && streq(a->fallback, "yes")))
                return r;
        if (r != STATUS_OK)
                complain("Continuing without the region because of --fallback=yes");
        else
                r = set_environment(a, preload);
        if (r < 0) {
                complain("Cannot set the environment: %s", strerror(-r));
                return STATUS_RUN_FAILED;
        }

        (void) execvp(a->command[0], a->command);
        r = xerrno();
        complain("Cannot run %s: %s", a->command[0], strerror(r));
        return r == ENOENT ? STATUS_RUN_NOT_FOUND : STATUS_RUN_CANNOT;
}
