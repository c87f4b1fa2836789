# SPDX-License-Identifier: Apache-2.0
"""What was tried on the way to the bundled model, for its card: each variant, what it cost and what it won."""

VARIANTS = """\
int8 mAP50 on the validation part (147 pictures, by which variants are chosen) and, reported only, on the new site.
Exported once more, from float16 weights and on another kind of processor, the shipped network gave .889 in place of
.893: less than half a point says nothing. The second cycle and what follows from it were exported there too.

| what | cost | validation | new site | kept |
|---|---|---|---|---|
| a trial of 31 minutes, 7.5 passes (not this trainer's) | 31 min | not measured | .340 | no |
| 4,200 steps, zooming out to .35, mosaics of nine | 78 min | .893 (float .894) | .434 (float .447) | **yes** |
| the same without channels equalised before quantising | none | .893 | .418 | no |
| quantisation-aware steps after training | not noted | no better | no better | no |
| a second cycle of 2,200 steps, zooming out to .25 | 68 min | .890 (float .895) | .442 (float .455) | no |
| weights of both cycles averaged, 3 to 1 for the second | none | .896 (float .897) | .429 (float .458) | no |
| weights of both cycles averaged, 1 to 1 | none | .897 (float .896) | .426 (float .458) | no |
| the latter, 30 calibration pictures in place of 120 | none | .899 | .431 | no |
| the latter, 400 calibration pictures | none | .899 | .433 | no |
| second cycle, 30 calibration pictures | none | .891 | .439 | no |
| second cycle, 400 calibration pictures | none | .892 | .439 | no |
| score thresholds at most .3 in place of the best F1 wherever it lies | none | same mAP50 | same mAP50 | **yes** |

The second cycle won a point in float on the new site and nothing on the validation part that chance could not give;
averaging lost in int8 on the new site what it won in float (.026, where .015 is the aim), so neither was taken.
Rounds with few or no old pictures: [prove.md](prove.md), [prove-direct.md](prove-direct.md).
Not tried: a stride-4 level, hard-swish, a second seed from the start."""
