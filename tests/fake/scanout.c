#include "tests/fake/scanout.h"

bool fake_screen = true;
unsigned fake_pictures;
uint32_t fake_picture_width, fake_picture_height, fake_picture_stride;
uint32_t fake_picture_first, fake_picture_last;
uint64_t fake_picture_sum;

bool scanout_show(const uint32_t *pixels, uint32_t width, uint32_t height, uint32_t stride_bytes)
{
    if (!fake_screen)
        return false;
    fake_pictures++;
    fake_picture_width = width;
    fake_picture_height = height;
    fake_picture_stride = stride_bytes;
    fake_picture_first = pixels[0];
    fake_picture_sum = 0;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++)
            fake_picture_sum += pixels[(uint64_t)y * (stride_bytes / 4) + x];
    fake_picture_last = pixels[(uint64_t)(height - 1) * (stride_bytes / 4) + width - 1];
    return true;
}

void fake_screen_reset(void)
{
    fake_screen = true;
    fake_pictures = 0;
    fake_picture_width = fake_picture_height = fake_picture_stride = 0;
    fake_picture_first = fake_picture_last = 0;
    fake_picture_sum = 0;
}
