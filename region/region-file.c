/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Reads /etc/mshare/regions.d/NAME.conf: finds the file, parses it, and looks up the owner. The grammar is that of the broker's
 * settings. It knows no bus, so the fuzzer can run it.
 */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>

#include "basic/ini.h"
#include "basic/util.h"
#include "kinds.h"
#include "mode.h"
#include "model/name.h"
#include "numa.h"
#include "region-file.h"
#include "region-size.h"

void region_file_done(RegionFile *file) {
        free(file->user);
        free(file->group);
        free(file->backing);
        free(file->hugepages);
        free(file->numa);
        free(file->lifetime);
        free(file->label);
        free(file->path);
        free(file->server);
        *file = (RegionFile){};
}

static int assign_word(int (*from_string)(const char *), const char *value, char **ret) {
        int r = from_string(value);

        return r < 0 ? r : free_and_strdup(ret, value);
}

static int assign_text(const char *value, char **ret) {
        return *value ? free_and_strdup(ret, value) : -EINVAL;
}

/* Store it in the broker's form, so that the two can be compared. */
static int assign_numa(const char *value, char **ret) {
        char text[NUMA_TEXT_MAX];
        NumaPolicy policy;
        int r = numa_parse(value, &policy);

        return r < 0 ? r : free_and_strdup(ret, numa_format(&policy, text));
}

static int assign_server(const char *value, char **ret) {
        const char *cluster;
        uint32_t version;
        int r = region_size_split(value, &version, &cluster);

        return r < 0 ? r : free_and_strdup(ret, value);
}

static int assign(const char *section, const char *key, const char *value, void *assigned, const char **reason) {
        static const char *const reasons[][2] = {
                { "Size", "expected " AMOUNT_FORM ", or auto" },
                { "Mode", "expected permission bits in octal, 0000 to 0777" },
                { "User", "expected the name or number of a user" },
                { "Group", "expected the name or number of a group" },
                { "Backing", "expected one of " BACKING_WORDS },
                { "HugePages", "expected one of " HUGEPAGES_WORDS },
                { "NUMA", "expected " NUMA_FORM },
                { "Lifetime", "expected one of " LIFETIME_WORDS },
                { "LingerSec", "expected " SPAN_FORM },
                { "Populate", "expected yes or no" },
                { "Address", "expected bytes in decimal, or in hexadecimal after 0x" },
                { "Path", "expected an absolute path" },
                { "Label", "expected some text without control characters" },
                { "MaximumSize", "expected " AMOUNT_FORM },
                { "For", "expected postgresql:VERSION/CLUSTER" },
        };
        RegionFile *f = assigned;
        size_t i;

        if (!streq(section, "Region"))
                return -ENOENT;
        for (i = 0; i < ELEMENTSOF(reasons); i++)
                if (streq(key, reasons[i][0]))
                        break;
        if (i == ELEMENTSOF(reasons))
                return -ENOENT;
        *reason = reasons[i][1];
        switch (i) {
        case 0:
                f->size_auto = streq(value, "auto");
                f->size = 0;
                return f->size_auto ? 0 : parse_amount(value, &f->size);
        case 1:
                return parse_mode(value, &f->mode);
        case 2:
                return assign_text(value, &f->user);
        case 3:
                return assign_text(value, &f->group);
        case 4:
                return assign_word(backing_parse, value, &f->backing);
        case 5:
                return assign_word(hugepages_parse, value, &f->hugepages);
        case 6:
                return assign_numa(value, &f->numa);
        case 7:
                return assign_word(lifetime_parse, value, &f->lifetime);
        case 8:
                f->linger_set = true;
                return parse_span(value, &f->linger_usec);
        case 9:
                return parse_bool(value, &f->populate);
        case 10:
                f->address_set = true;
                return strncmp(value, "0x", 2) == 0 ? parse_u64(value + 2, 16, &f->address)
                                                    : parse_u64(value, 10, &f->address);
        case 11:
                return *value == '/' ? free_and_strdup(&f->path, value) : -EINVAL;
        case 12:
                return text_is_printable(value) ? assign_text(value, &f->label) : -EINVAL;
        case 13:
                return parse_amount(value, &f->maximum);
        default:
                return assign_server(value, &f->server);
        }
}

static void complain(const char *file, unsigned line, const char *message, void *userdata) {
        (void) fprintf(stderr, "%s:%u: %s.\n", file, line, message);
}

static void keep_quiet(const char *file, unsigned line, const char *message, void *userdata) {
}

int region_file_parse(const char *filename, char *text, bool quiet, RegionFile *ret) {
        _cleanup_(region_file_done) RegionFile f = { .mode = 0600 };
        const char *wrong = NULL;

        if (ini_parse(filename, text, assign, &f, quiet ? keep_quiet : complain, NULL) > 0)
                return -EBADMSG;
        if (f.size == 0 && !f.size_auto)
                wrong = "Size= is missing from section [Region]";
        else if (f.size_auto && !f.server)
                wrong = "Size=auto requires For=, which names the server";
        else if (!f.size_auto && f.server)
                wrong = "For= requires Size=auto";
        else if (f.maximum > 0 && !f.size_auto && f.maximum < f.size)
                wrong = "MaximumSize= is less than Size=";
        else if (f.populate && f.backing && streq(f.backing, "empty"))
                wrong = "Populate=yes is not possible with Backing=empty, which has no memory";
        if (wrong) {
                if (!quiet)
                        (void) fprintf(stderr, "%s: %s.\n", filename, wrong);
                return -EBADMSG;
        }
        *ret = f;
        f = (RegionFile){};
        return 0;
}

static int say(int r, const char *format, ...) _printf_(2, 3);

static int say(int r, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        (void) vfprintf(stderr, format, ap);
        va_end(ap);
        return r;
}

int region_file_load(const char *name, RegionFile *ret) {
        const char *dirs[] = { getenv("CONFIGURATION_DIRECTORY") ?: "/etc/mshare", "/run/mshare", "/usr/lib/mshare" };
        int r;

        if (!region_name_is_valid(name))
                return say(-EINVAL, "Invalid region name '%s': " REGION_NAME_RULE ".\n", name);
        for (size_t i = 0; i < ELEMENTSOF(dirs); i++) {
                _cleanup_(freep) char *path = NULL, *text = NULL;

                if (asprintf(&path, "%s/regions.d/%s.conf", dirs[i], name) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }
                r = read_file(AT_FDCWD, path, INI_FILE_MAX, &text, NULL);
                if (r == -ENOENT)
                        continue;
                if (r < 0)
                        return say(r, "Cannot read %s: %s.\n", path, strerror(-r));
                return region_file_parse(path, text, false, ret);
        }
        return say(-ENOENT, "There is no %s/regions.d/%s.conf, nor one in /run/mshare or /usr/lib/mshare.\n", dirs[0],
                   name);
}

int region_file_owner(const RegionFile *file, Owner *ret) {
        const struct passwd *pw;
        const struct group *gr;
        Owner owner = {};

        if (file->user && parse_u32(file->user, 10, &owner.uid) < 0) {
                pw = getpwnam(file->user);
                if (!pw)
                        return say(-ESRCH,
                                   "User=%s: there is no such user. (A user of DynamicUser= exists only while its "
                                   "service runs, so it cannot own a region that is created before.)\n",
                                   file->user);
                owner.uid = pw->pw_uid;
                owner.gid = pw->pw_gid;
        }
        if (file->group && parse_u32(file->group, 10, &owner.gid) < 0) {
                gr = getgrnam(file->group);
                if (!gr)
                        return say(-ESRCH, "Group=%s: there is no such group.\n", file->group);
                owner.gid = gr->gr_gid;
        }
        *ret = owner;
        return 0;
}
