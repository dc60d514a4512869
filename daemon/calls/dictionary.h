/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

/*
 * Called for each entry, with the message at the variant, which it must read or skip. Returns 0 or more to go on, or negative
 * errno to stop.
 */
typedef int (*DictionaryEntry)(sd_bus_message *m, const char *key, void *userdata, sd_bus_error *error);

/* Reads the a{sv} at the message's position. 0 or negative errno; *error, which may be NULL, is for entry() alone. */
int dictionary_read(sd_bus_message *m, DictionaryEntry entry, void *userdata, sd_bus_error *error);
