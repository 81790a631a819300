#include <cstdio>
int main() { std::puts("throughline"); }
