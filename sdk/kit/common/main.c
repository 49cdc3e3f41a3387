/* holdfast-plugin-check PLUGIN.so [KIND/NAME]: checks a plugin with the kit's suites. */
#include <holdfast/kit/check.h>

int main(int count, char **arguments)
{
    return hf_kit_main(count, arguments, NULL, 0);
}
