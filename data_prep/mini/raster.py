"""A software rasteriser: orthographic, z-buffered, shaded per sample, 2 x 2 samples a pixel."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from affekt.media.compiled import compiled

SAMPLES = 2  # per pixel and axis

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]

fast = partial(compiled, fastmath=True)


@fast
def vertex_normals(points: F32, triangles: I32, normals: F32) -> None:
    """Fill normals (V, 3) with unit normals, weighted by the area of the faces around."""
    normals[:] = 0
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ux, uy, uz = (points[b, 0] - points[a, 0], points[b, 1] - points[a, 1],
                      points[b, 2] - points[a, 2])  # fmt: skip
        vx, vy, vz = (points[c, 0] - points[a, 0], points[c, 1] - points[a, 1],
                      points[c, 2] - points[a, 2])  # fmt: skip
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(points.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        scale = 1.0 / np.sqrt(x * x + y * y + z * z + 1e-12)
        normals[v, 0] = x * scale
        normals[v, 1] = y * scale
        normals[v, 2] = z * scale


@fast
def visible_faces(pixels: F32, triangles: I32, depth: F32, face: I32, weights: F32) -> None:
    """Fill, per sample, the nearest front-facing triangle and two barycentric weights.

    pixels (V, 3): position in samples and depth, larger is farther. depth (H, W), face (H, W) with
    -1 for background, weights (H, W, 2).
    """
    height, width = depth.shape
    depth[:] = np.float32(1e9)
    face[:] = -1
    for f in range(triangles.shape[0]):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        ax, ay, az = pixels[a, 0], pixels[a, 1], pixels[a, 2]
        bx, by, bz = pixels[b, 0], pixels[b, 1], pixels[b, 2]
        cx, cy, cz = pixels[c, 0], pixels[c, 1], pixels[c, 2]
        # Triangles seen from behind are left out.
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= -1e-6:
            continue
        # The samples of the bounding box, and the barycentric steps between them.
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), width - 1)
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), height - 1)
        inverse = np.float32(1.0) / area
        step_b = (cy - ay) * inverse
        step_c = -(by - ay) * inverse
        for row in range(top, bottom + 1):
            y = row + np.float32(0.5)
            x = left + np.float32(0.5)
            wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
            wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
            for column in range(left, right + 1):
                if wb >= 0 and wc >= 0 and wb + wc <= 1:
                    z = az + wb * (bz - az) + wc * (cz - az)
                    if z < depth[row, column]:
                        depth[row, column] = z
                        face[row, column] = f
                        weights[row, column, 0] = wb
                        weights[row, column, 1] = wc
                wb += step_b
                wc += step_c


@fast
def shade(
    face: I32, weights: F32, triangles: I32, normals: F32, surface: F32, background: U8, image: U8
) -> None:
    """Fill image (H, W, 3) with the mean of the shaded samples of each pixel.

    surface (V, 4): red, green, blue in [0, 1] and gloss. Light: warm key from the upper left front,
    cool fill from the right, soft from above; wrapped so that skin stays soft.
    """
    height, width, _ = image.shape
    share = 1.0 / (SAMPLES * SAMPLES)
    for row in range(height):
        for column in range(width):
            red, green, blue = 0.0, 0.0, 0.0
            for sub in range(SAMPLES * SAMPLES):
                r, c = row * SAMPLES + sub // SAMPLES, column * SAMPLES + sub % SAMPLES
                f = face[r, c]
                if f < 0:
                    red += background[row, column, 0]
                    green += background[row, column, 1]
                    blue += background[row, column, 2]
                    continue
                # Unit normal of the sample.
                i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
                wj, wk = weights[r, c, 0], weights[r, c, 1]
                wi = 1.0 - wj - wk
                nx = wi * normals[i, 0] + wj * normals[j, 0] + wk * normals[k, 0]
                ny = wi * normals[i, 1] + wj * normals[j, 1] + wk * normals[k, 1]
                nz = wi * normals[i, 2] + wj * normals[j, 2] + wk * normals[k, 2]
                scale = 1.0 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
                nx, ny, nz = nx * scale, ny * scale, nz * scale
                # Light by its direction, and the highlight: the half vector to the 32nd power.
                key = max((-0.42 * nx - 0.50 * ny - 0.757 * nz + 0.30) / 1.30, 0.0)
                fill = max(0.80 * nx - 0.05 * ny - 0.598 * nz, 0.0)
                sky = 0.5 - 0.5 * ny
                half = max(-0.224 * nx - 0.267 * ny - 0.937 * nz, 0.0)
                gloss = wi * surface[i, 3] + wj * surface[j, 3] + wk * surface[k, 3]
                shine = half * half
                shine *= shine
                shine *= shine
                shine *= shine
                shine = gloss * shine * shine * 255.0
                # Colour of the surface under this light.
                light_r = 0.29 + 0.61 * key + 0.12 * fill + 0.14 * sky
                light_g = 0.27 + 0.60 * key + 0.13 * fill + 0.15 * sky
                light_b = 0.27 + 0.57 * key + 0.16 * fill + 0.17 * sky
                ar = wi * surface[i, 0] + wj * surface[j, 0] + wk * surface[k, 0]
                ag = wi * surface[i, 1] + wj * surface[j, 1] + wk * surface[k, 1]
                ab = wi * surface[i, 2] + wj * surface[j, 2] + wk * surface[k, 2]
                red += min(255.0 * ar * light_r + shine, 255.0)
                green += min(255.0 * ag * light_g + shine, 255.0)
                blue += min(255.0 * ab * light_b + shine, 255.0)
            image[row, column, 0] = np.uint8(red * share + 0.5)
            image[row, column, 1] = np.uint8(green * share + 0.5)
            image[row, column, 2] = np.uint8(blue * share + 0.5)
