// Precompiled for every room: JSON's one big header.
#pragma once
#include <nlohmann/json.hpp>
