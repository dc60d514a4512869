/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Message ids of the journal; units/mshared.catalog explains each. */
#define MESSAGE_REGION_CREATED "ae61d287341541f8939083809dcee14d"
#define MESSAGE_REGION_REMOVED "1bf846ba3fde4bddbe06f7e60b27171d"
#define MESSAGE_REGION_FAILED "7a15c06dd02a4e59972fff8a4a2a90e1"
#define MESSAGE_REGION_ADOPTED "8d83e7aa9a7f459ea9c11aab57713bb4"
#define MESSAGE_REGION_LOST "d61a684e9f8c4ac887144ce2c1319a96"
#define MESSAGE_KERNEL_UNSUPPORTED "9f6cd7a5a13e4fec96a1744fb2bb5b9f"
