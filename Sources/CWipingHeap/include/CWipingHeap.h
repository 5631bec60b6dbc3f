#pragma once
// Nothing to call. The program that this is linked into has the heap of wipe.c.
