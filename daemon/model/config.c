/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Reads the settings of mshared.conf and its drop-ins. basic/ini.c knows the grammar. */

#include <errno.h>
#include <fcntl.h>
#include <syslog.h>

#include "basic/ini.h"
#include "basic/log.h"
#include "basic/util.h"
#include "model/config.h"

void config_set_defaults(Config *config) {
        limits_set_defaults(&config->limits);
        config->log_level = LOG_INFO;
}

static int config_assign(const char *section, const char *key, const char *value, void *assigned, const char **reason) {
        Config *config = assigned;
        int r;

        if (streq(section, "Limits")) {
                Limit limit;
                uint64_t v;

                r = limit_from_name(key);
                if (r < 0)
                        return -ENOENT;
                limit = (Limit) r;
                *reason = "expected a number, optionally followed by K, M, G, T, P or E, or 'infinity'";
                r = parse_size(value, &v);
                if (r < 0)
                        return r;
                config->limits.max[limit] = v;
                return 0;
        }
        if (streq(section, "Log") && streq(key, "Level")) {
                *reason = "expected one of " LOG_LEVEL_WORDS;
                r = log_level_from_string(value);
                if (r < 0)
                        return r;
                config->log_level = r;
                return 0;
        }
        return -ENOENT;
}

static int load_file(Config *config, int dirfd, const char *dir, const char *name, IniComplain complain,
                     void *userdata) {
        _cleanup_(freep) char *text = NULL, *path = NULL;
        int r;

        if (asprintf(&path, "%s/%s", dir, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        r = read_file(dirfd, name, INI_FILE_MAX, &text, NULL);
        if (r == -ENOENT)
                return r;
        if (r < 0) {
                complain(path, 0, strerror(-r), userdata);
                return 1;
        }
        return (int) ini_parse(path, text, config_assign, config, complain, userdata);
}

typedef struct Dropin {
        char *name;
        const char *dir;
} Dropin;

static int dropin_compare(const void *a, const void *b) {
        return strcmp(((const Dropin *) a)->name, ((const Dropin *) b)->name);
}

typedef struct Dropins {
        Dropin *v;
        size_t n;
} Dropins;

static void dropins_done(Dropins *d) {
        for (size_t i = 0; i < d->n; i++)
                free(d->v[i].name);
        free(d->v);
}

static bool dropins_have(const Dropins *d, const char *name) {
        for (size_t i = 0; i < d->n; i++)
                if (streq(d->v[i].name, name))
                        return true;
        return false;
}

static int dropins_collect(Dropins *d, const char *dir) {
        _cleanup_(freep) char *path = NULL;
        _cleanup_(closedirp) DIR *stream = NULL;
        struct dirent *de;

        if (asprintf(&path, "%s/mshared.conf.d", dir) < 0) {
                path = NULL;
                return -ENOMEM;
        }
        stream = opendir(path);
        if (!stream)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        while ((de = readdir(stream))) {
                size_t n = strlen(de->d_name);
                Dropin *v;

                if (n <= 5 || de->d_name[0] == '.' || !streq(de->d_name + n - 5, ".conf"))
                        continue;
                if (dropins_have(d, de->d_name))
                        continue;
                v = realloc(d->v, (d->n + 1) * sizeof(*v));
                if (!v)
                        return -ENOMEM;
                d->v = v;
                v[d->n] = (Dropin){ .name = strdup(de->d_name), .dir = dir };
                if (!v[d->n].name)
                        return -ENOMEM;
                d->n++;
        }
        return 0;
}

int config_load(Config *config, const char *const *dirs, IniComplain complain, void *userdata) {
        _cleanup_(dropins_done) Dropins dropins = {};
        int r, n_wrong = 0;

        for (const char *const *dir = dirs; *dir; dir++) {
                _cleanup_(closep) int fd = open(*dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                if (fd < 0)
                        continue;
                r = load_file(config, fd, *dir, "mshared.conf", complain, userdata);
                if (r == -ENOMEM)
                        return r;
                if (r >= 0) {
                        n_wrong += r;
                        break;
                }
        }
        for (const char *const *dir = dirs; *dir; dir++) {
                r = dropins_collect(&dropins, *dir);
                if (r == -ENOMEM)
                        return r;
                if (r < 0) {
                        complain(*dir, 0, strerror(-r), userdata);
                        n_wrong++;
                }
        }
        if (dropins.n > 0)
                qsort(dropins.v, dropins.n, sizeof(*dropins.v), dropin_compare);
        for (size_t i = 0; i < dropins.n; i++) {
                _cleanup_(freep) char *name = NULL;
                _cleanup_(closep) int fd = open(dropins.v[i].dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                if (fd < 0)
                        continue;
                if (asprintf(&name, "mshared.conf.d/%s", dropins.v[i].name) < 0) {
                        name = NULL;
                        return -ENOMEM;
                }
                r = load_file(config, fd, dropins.v[i].dir, name, complain, userdata);
                if (r == -ENOMEM)
                        return r;
                if (r > 0)
                        n_wrong += r;
        }
        return n_wrong;
}
