/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

/* A bus without a peer, because messages need one. */
sd_bus *message_bus_new(void);
/*
 * Makes an options map from bytes. Each option is a key (a known one or free text), a type and a value. The message is
 * sealed, and its read position is at the map.
 */
sd_bus_message *message_from_bytes(sd_bus *bus, const uint8_t *data, size_t size);
