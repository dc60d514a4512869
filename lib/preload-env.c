/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Removes the settings from the environment of a server whose memory is placed, and restores them for programs that may use the
 * region. preload-exec.c decides which programs those are. It knows no mappings.
 */

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "preload-env.h"
#include "preload-family.h"
#include "util.h"

#define REGION "MSHARE_REGION="
#define TAKEN "MSHARE_TAKEN="
#define PRELOAD "LD_PRELOAD="

/* Entries of the environment. They are never freed, because the process uses them until it exits. */
static struct {
        char *region, *taken;
        char *preload; /* as it was */
        char *others; /* without this library; NULL if nothing is left */
        char *library; /* this library, as LD_PRELOAD names it; NULL if it does not */
} settled;

static bool is(const char *entry, const char *name) {
        return strncmp(entry, name, strlen(name)) == 0;
}

/* Entries of LD_PRELOAD are separated by blanks or colons. */
static bool without_library(const char *value) {
        _cleanup_(freep) char *copy = strdup(value), *others = NULL, *library = NULL;
        char *word, *end, *state = NULL;
        size_t n = 0;
        Dl_info info;

        others = malloc(strlen(PRELOAD) + strlen(value) + 1);
        if (!copy || !others || dladdr((void *) &preload_env_settle, &info) == 0)
                return false;
        end = stpcpy(others, PRELOAD);

        for (word = strtok_r(copy, ": ", &state); word; word = strtok_r(NULL, ": ", &state)) {
                if (!library && streq(path_base(word), path_base(info.dli_fname))) {
                        library = strdup(word);
                        if (!library)
                                return false;
                        continue;
                }
                if (n++ > 0)
                        end = stpcpy(end, ":");
                end = stpcpy(end, word);
        }

        settled.library = TAKE_PTR(library);
        settled.others = n > 0 ? TAKE_PTR(others) : NULL;
        return true;
}

static char *make_mark(const char *region) {
        ProcessId self = process_self();
        char *mark;

        if (asprintf(&mark, TAKEN "%d:%" PRIx64 ":%s", (int) getpid(), (uint64_t) self, region) < 0)
                return NULL;
        return mark;
}

/* Replaces an entry, or removes it if `with` is NULL. Only stores pointers, as other threads may read the array. */
static void replace(char **entry, char *with) {
        if (with) {
                *entry = with;
                return;
        }
        for (; *entry; entry++)
                *entry = entry[1];
}

bool preload_env_settle(const char *region, const char *mark) {
        const char *preload = getenv("LD_PRELOAD");
        char **e;

        if (!settled.taken) {
                if (!mark)
                        settled.taken = make_mark(region);
                else if (asprintf(&settled.taken, TAKEN "%s", mark) < 0)
                        settled.taken = NULL;
                if (settled.taken && asprintf(&settled.region, REGION "%s", region) < 0)
                        settled.region = NULL;
                if (preload && asprintf(&settled.preload, PRELOAD "%s", preload) < 0)
                        settled.preload = NULL;
                if (!settled.taken || !settled.region || (preload && !settled.preload) ||
                    (preload && !without_library(preload))) {
                        settled.taken = NULL;
                        return false;
                }
        }

        for (e = environ; e && *e; e++)
                if (is(*e, TAKEN)) {
                        replace(e, NULL);
                        break;
                }
        for (e = environ; e && *e; e++)
                if (is(*e, REGION)) {
                        replace(e, settled.taken);
                        break;
                }
        for (e = environ; e && *e && settled.library; e++)
                if (is(*e, PRELOAD)) {
                        replace(e, settled.others);
                        break;
                }
        return true;
}

bool preload_env_mark(const char *region) {
        char *mark = make_mark(region), **e;

        if (!mark)
                return false;
        for (e = environ; e && *e; e++)
                if (is(*e, TAKEN)) {
                        replace(e, mark);
                        break;
                }
        settled.taken = mark;
        return true;
}

bool preload_env_taken_by_other(const char *region, int *ret_pid) {
        const char *mark = getenv("MSHARE_TAKEN");
        uint64_t id;
        int n = 0;

        if (!mark || sscanf(mark, "%d:%" SCNx64 ":%n", ret_pid, &id, &n) != 2 || n == 0)
                return false;
        /* If another region is set than the marked one, that is on purpose. */
        return streq(mark + n, region) && id != process_self();
}

static const char *preload_of(char *const envp[]) {
        if (!envp)
                return NULL;
        while (*envp && !is(*envp, PRELOAD))
                envp++;
        return *envp;
}

PreloadEnvNeed preload_env_measure(char *const envp[]) {
        const char *preload = preload_of(envp);
        PreloadEnvNeed need = { .entries = 4, .text = 1 };

        for (; envp && *envp; envp++)
                need.entries++;
        if (settled.library)
                need.text += strlen(preload ?: PRELOAD) + strlen(settled.library) + 1;
        return need;
}

void preload_env_restore(char *const envp[], char *entries[], char *text, bool mark) {
        const char *preload = preload_of(envp);

        for (; envp && *envp; envp++)
                if (!is(*envp, REGION) && !is(*envp, TAKEN) && !is(*envp, PRELOAD))
                        *entries++ = *envp;
        *entries++ = settled.region;
        if (mark)
                *entries++ = settled.taken;

        if (!settled.library || (!preload && !settled.others) ||
            (preload && settled.others && streq(preload, settled.others))) {
                /* Unchanged since we removed the library: restore the original. */
                if (settled.library ? !!settled.preload : !!preload)
                        *entries++ = settled.library ? settled.preload : (char *) preload;
        } else {
                /* The program has changed it since. */
                const char *others = preload ? preload + strlen(PRELOAD) : "";
                char *end = stpcpy(stpcpy(text, PRELOAD), settled.library);

                if (*others)
                        end = stpcpy(end, ":");
                stpcpy(end, others);
                *entries++ = text;
        }
        *entries = NULL;
}

bool preload_env_is_earlier(char *const envp[]) {
        for (; envp && *envp; envp++)
                if (settled.region && streq(*envp, settled.region))
                        return true;
        return false;
}

bool preload_env_is_marked(char *const envp[]) {
        for (; envp && *envp; envp++)
                if (settled.taken && streq(*envp, settled.taken))
                        return true;
        return false;
}

/* Writes the entry without this library to `text`. Returns whether any other library is left. */
static bool remove_library(const char *entry, char *text) {
        const char *p = entry + strlen(PRELOAD);
        char *end = stpcpy(text, PRELOAD);
        bool any = false;
        size_t n;

        for (p += strspn(p, ": "); *p; p += n + strspn(p + n, ": ")) {
                n = strcspn(p, ": ");
                if (n == strlen(settled.library) && strncmp(p, settled.library, n) == 0)
                        continue;
                if (any)
                        *end++ = ':';
                end = mempcpy(end, p, n);
                any = true;
        }
        *end = '\0';
        return any;
}

void preload_env_conceal(char *const envp[], char *entries[], char *text) {
        const char *preload = preload_of(envp);

        for (; envp && *envp; envp++)
                if (streq(*envp, settled.region))
                        *entries++ = settled.taken;
                else if (*envp == preload && settled.library) {
                        if (remove_library(preload, text))
                                *entries++ = text;
                } else if (!is(*envp, TAKEN))
                        *entries++ = *envp;
        *entries = NULL;
}
