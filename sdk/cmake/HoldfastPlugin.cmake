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

# holdfast_check_plugin(KIND NAME [WITH kind-name...] [SET name=value...] [TIMEOUT seconds])
#
# A test that checks the plugin with the conformance kit: KIND_NAME_check.  WITH names the plugins, or their files, that
# provide what this one asks for; SET, options that differ from their defaults, and groups by name
# (listeners.web.address=127.0.0.1:80).
function(holdfast_check_plugin kind name)
    if(NOT HOLDFAST_OUTSIDE AND NOT HOLDFAST_TESTS)
        return()
    endif()
    cmake_parse_arguments(arg "" "TIMEOUT" "WITH;SET" ${ARGN})
    set(arguments "")
    foreach(other ${arg_WITH})
        if(EXISTS ${other})
            list(APPEND arguments --with ${other})
        else() # perhaps added only later
            list(APPEND arguments --with $<TARGET_FILE:holdfast-${other}>)
        endif()
    endforeach()
    foreach(setting ${arg_SET})
        list(APPEND arguments --set ${setting})
    endforeach()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 300)
    endif()
    add_test(NAME ${kind}_${name}_check
             COMMAND holdfast-plugin-check ${arguments} $<TARGET_FILE:holdfast-${kind}-${name}>)
    set_tests_properties(${kind}_${name}_check PROPERTIES TIMEOUT ${arg_TIMEOUT}
                         ENVIRONMENT "${HOLDFAST_TEST_ENVIRONMENT}")
endfunction()
