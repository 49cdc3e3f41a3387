# holdfast_add_plugin(KIND NAME SOURCES file... [LIBRARIES lib...] [INCLUDES dir...] [NO_INSTALL])
#
# Builds holdfast-KIND-NAME.so from the sources of one folder.  Works in the tree and outside it (find_package(Holdfast)).
function(holdfast_add_plugin kind name)
    cmake_parse_arguments(arg "NO_INSTALL" "" "SOURCES;LIBRARIES;INCLUDES" ${ARGN})
    set(target holdfast-${kind}-${name})
    add_library(${target} MODULE ${arg_SOURCES})
    set_target_properties(${target} PROPERTIES
        PREFIX "" C_VISIBILITY_PRESET hidden POSITION_INDEPENDENT_CODE ON
        LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins-1)
    target_include_directories(${target} PRIVATE ${arg_INCLUDES})
    target_link_libraries(${target} PRIVATE holdfast_sdk ${arg_LIBRARIES})
    if(NOT HOLDFAST_SANITIZE) # the sanitizers' run-time symbols come from the executable
        target_link_options(${target} PRIVATE -Wl,-z,defs)
    endif()
    # Exactly one symbol leaves the shared object, also when a static library was built without -fvisibility=hidden.
    target_link_options(${target} PRIVATE -Wl,--exclude-libs,ALL)
    # The manifest is made from the plugin's own tables, once it is linked.
    add_custom_command(TARGET ${target} POST_BUILD COMMAND holdfast-plugin-note $<TARGET_FILE:${target}> VERBATIM)
    if(NOT HOLDFAST_OUTSIDE)
        add_dependencies(${target} holdfast-plugin-note)
    endif()
    if(NOT arg_NO_INSTALL)
        install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/holdfast/plugins-1)
    endif()
endfunction()
