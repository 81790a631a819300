// Precompiled for the tests: GoogleTest and RapidCheck. A test still includes what it uses.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <vector>
