/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The command reload: changes what can be changed of a region that exists, and prints what is ignored. It reads the region's
 * properties from the bus, and takes no memory from clients.
 */

#include <errno.h>
#include <inttypes.h>

#include "errors.h"
#include "region-client.h"
#include "region-file.h"
#include "region-populate.h"
#include "region-reload.h"

static int get_text(sd_bus *bus, const char *path, const char *property, char **ret, sd_bus_error *error) {
        return sd_bus_get_property_string(bus, BUS_NAME, path, BUS_REGION_INTERFACE, property, error, ret);
}

static int get_number(sd_bus *bus, const char *path, const char *property, uint64_t *ret, sd_bus_error *error) {
        return sd_bus_get_property_trivial(bus, BUS_NAME, path, BUS_REGION_INTERFACE, property, error, 't', ret);
}

static void ignored(const char *name, const char *key, const char *declared, const char *actual) {
        (void) fprintf(stderr, "%s=%s is ignored: region %s has '%s', and only a restart of its unit changes that.\n",
                       key, declared, name, actual);
}

static void ignored_number(const char *name, const char *key, uint64_t declared, uint64_t actual) {
        char a[24], b[24];

        (void) snprintf(a, sizeof(a), "%" PRIu64, declared);
        (void) snprintf(b, sizeof(b), "%" PRIu64, actual);
        ignored(name, key, a, b);
}

/* HugePages= and Path= are not among the properties of a region. */
static int tell_ignored(sd_bus *bus, const char *name, const char *path, const RegionFile *f, sd_bus_error *error) {
        const struct {
                const char *key, *property, *declared;
        } words[] = {
                { "Backing", "Backing", f->backing ?: "anonymous" },
                { "NUMA", "NUMA", f->numa ?: "default" },
                { "Lifetime", "Lifetime", f->lifetime ?: "persistent" },
                { "Label", "Label", f->label ?: "" },
        };
        uint64_t linger, address, length;
        int r;

        for (size_t i = 0; i < ELEMENTSOF(words); i++) {
                _cleanup_(freep) char *actual = NULL;

                r = get_text(bus, path, words[i].property, &actual, error);
                if (r < 0)
                        return r;
                if (!streq(actual, words[i].declared))
                        ignored(name, words[i].key, words[i].declared, actual);
        }
        r = get_number(bus, path, "LingerUSec", &linger, error);
        if (r >= 0)
                r = get_number(bus, path, "Address", &address, error);
        if (r >= 0)
                r = get_number(bus, path, "Length", &length, error);
        if (r < 0)
                return r;
        if (f->linger_usec != linger)
                ignored_number(name, "LingerSec", f->linger_usec / USEC_PER_SEC, linger / USEC_PER_SEC);
        if (f->address_set && f->address != address)
                ignored_number(name, "Address", f->address, address);
        /* The window consists of whole granules, so a maximum that fits into it changes nothing. */
        if (f->maximum > length)
                ignored_number(name, "MaximumSize", f->maximum, length);
        return 0;
}

static int resize(Start *s, const char *name, const char *path, const RegionFile *f, sd_bus_error *error) {
        sd_bus *bus = s->bus;
        uint64_t now;
        int r;

        r = get_number(bus, path, "Size", &now, error);
        if (r < 0 || now == f->size)
                return r;
        /* Without force: an edited file is no reason to take memory from clients. */
        r = client_call(bus, error, NULL, "ResizeRegion", "sta{sv}", name, f->size, 0);
        if (r >= 0 && f->populate && f->size > now) {
                /* A region with a file does not grow, so all memory can be written. */
                const PopulateRequest added = {
                        .name = name, .path = path, .file = f, .from = now, .to = f->size, .writable = true
                };

                r = region_populate(s, &added, error);
                /* The broker does the same if it cannot populate what it adds. */
                if (r < 0)
                        (void) client_call(bus, NULL, NULL, "ResizeRegion", "sta{sv}", name, now, 1, "force", "b", 1);
        }
        if (r < 0)
                return r;
        (void) fprintf(stderr, "Region %s has %" PRIu64 " bytes now; it had %" PRIu64 ".\n", name, f->size, now);
        return 0;
}

int region_reload(const char *name) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(region_file_done) RegionFile f = {};
        _cleanup_(start_done) Start s = {};
        _cleanup_(freep) char *path = NULL;
        Owner owner = {};
        int r;

        if (region_file_load(name, &f) < 0 || region_file_owner(&f, &owner) < 0)
                return EXIT_FAILURE;
        r = start_open(&s);
        if (r >= 0)
                r = client_get_path(s.bus, name, &path, &error);
        if (r >= 0)
                r = client_apply(s.bus, name, path, f.mode, &owner, &error);
        if (r >= 0)
                r = tell_ignored(s.bus, name, path, &f, &error);
        /* Only a stopped server can be asked for the size, so it is asked only at a start. */
        if (r >= 0 && !f.size_auto)
                r = resize(&s, name, path, &f, &error);
        return client_finish("change", name, r, &error);
}
