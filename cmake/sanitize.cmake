# -DTHROUGHLINE_SANITIZE=address|thread|fuzzer
if(THROUGHLINE_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=address,undefined)
elseif(THROUGHLINE_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=thread)
elseif(THROUGHLINE_SANITIZE STREQUAL "fuzzer")  # clang only
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1)
  add_link_options(-fsanitize=address,undefined)
elseif(THROUGHLINE_SANITIZE)
  message(FATAL_ERROR "THROUGHLINE_SANITIZE=${THROUGHLINE_SANITIZE}: use address, thread or fuzzer")
endif()
