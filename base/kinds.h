/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The words of CreateRegion's options, org.mshare1(5), and of the properties with the same names: the bus, region files, state files
 * and the command line use them.
 */

typedef enum Backing {
        BACKING_ANONYMOUS,
        BACKING_MEMFD,
        BACKING_HUGETLB,
        BACKING_FILE,
        BACKING_EMPTY,
        BACKING_UNKNOWN, /* of regions that the broker did not create */
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

/* The words that users may give, for messages and help. */
#define BACKING_WORDS "anonymous, memfd, hugetlb, file, empty"
#define HUGEPAGES_WORDS "never, advise, always"
#define LIFETIME_WORDS "persistent, while-leased"

/* The word for a value, which is static. */
const char *backing_to_string(Backing b);
const char *hugepages_to_string(HugePages h);
const char *lifetime_to_string(Lifetime l);

/* The value of any word, also of those that only the broker writes. -EINVAL if there is no such word. */
int backing_from_string(const char *s);
int hugepages_from_string(const char *s);

/* The value of a word that a user may give, else -EINVAL. */
int backing_parse(const char *s);
int hugepages_parse(const char *s);
int lifetime_parse(const char *s);
