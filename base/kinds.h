/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>

/*
 * The words of the bus interface, org.mshare1(5): for options of CreateRegion, for the properties with the same names, and for
 * access. Region files, state files, leases and the command line use the same words.
 */

typedef enum Backing {
        BACKING_ANONYMOUS,
        BACKING_MEMFD,
        BACKING_HUGETLB,
        BACKING_FILE,
        BACKING_EMPTY,
        BACKING_UNKNOWN, /* for regions that the broker did not create */
        _BACKING_MAX,
} Backing;

typedef enum HugePages {
        HUGEPAGES_DEFAULT, /* the system's setting */
        HUGEPAGES_NEVER,
        HUGEPAGES_ADVISE,
        HUGEPAGES_ALWAYS,
        _HUGEPAGES_MAX,
} HugePages;

typedef enum Lifetime {
        LIFETIME_PERSISTENT,
        LIFETIME_WHILE_LEASED,
        _LIFETIME_MAX,
} Lifetime;

/* The values are the permission bits that an access requires. */
typedef enum Access {
        ACCESS_READ = 4,
        ACCESS_READ_WRITE = 6,
} Access;

/* The words that users may give, for messages and help. */
#define BACKING_WORDS "anonymous, memfd, hugetlb, file, empty"
#define HUGEPAGES_WORDS "never, advise, always"
#define LIFETIME_WORDS "persistent, while-leased"
#define ACCESS_WORDS "'r' or 'rw'"

/* The states of a region: the first as long as the broker creates it. */
#define STATE_CREATING "creating"
#define STATE_READY "ready"

/* The word for a value, which is static. */
const char *backing_to_string(Backing b);
const char *hugepages_to_string(HugePages h);
const char *lifetime_to_string(Lifetime l);
const char *access_to_string(Access access);
const char *state_to_string(bool ready);

/* The value of any word, including those that only the broker writes. -EINVAL if there is no such word. */
int backing_from_string(const char *s);
int hugepages_from_string(const char *s);
int access_from_string(const char *s);

/* The value of a word that a user may give, else -EINVAL. */
int backing_parse(const char *s);
int hugepages_parse(const char *s);
int lifetime_parse(const char *s);
