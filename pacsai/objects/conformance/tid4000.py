"""The templates of a Mammography CAD SR as tables: PS3.16 2026a, TID 4000 and all it includes.

How a line is read: rows.py. Left out is what we never write, and what is refused where it stands: findings out of
other reports (TID 4022), operating points (4023), differences in time (TID 4005 rows 11 to 15), volumes (1402), images
by value (4017 and 4018 rows 3 and 7) and series (row 5). TID 1400, 1401 and 4020 are extensible: their other rows
(other ways to draw a path or an area, what no mammogram has) pass unread.
"""

from __future__ import annotations

from pacsai.objects.conformance.rows import read

_TABLES = """
TID 4000
1 |                      | CONTAINER | 111036 Mammography CAD Report | 1 | M
2 | > HAS CONCEPT MOD    | INCLUDE   | 1204 | 1   | M
3 | > CONTAINS           | CONTAINER | 111028 Image Library | 1 | M
4 | >> CONTAINS          | INCLUDE   | 4020 | 1-n | M
5 | > CONTAINS           | INCLUDE   | 4001 | 1   | M
6 | > CONTAINS           | CODE      | 111064 Summary of Detections | 1 | M | CID 6042
7 | >> INFERRED FROM     | INCLUDE   | 4015 | 1   | MC | | iff parent != 111225
8 | > CONTAINS           | CODE      | 111065 Summary of Analyses | 1 | M | CID 6042
9 | >> INFERRED FROM     | INCLUDE   | 4016 | 1   | MC | | iff parent != 111225

TID 1204
1 | HAS CONCEPT MOD      | CODE | 121049 Language of Content Item and Descendants | 1 | M | RFC5646
2 | > HAS CONCEPT MOD    | CODE | 121046 Country of Language | 1 | U

TID 4001
1 |                      | CODE    | 111017 CAD Processing and Findings Summary | 1 | M | CID 6047
2 | > HAS PROPERTIES     | INCLUDE | 4002 | 1   | U
3 | > INFERRED FROM      | INCLUDE | 4003 | 1-n | MC | | iff parent = 111242 111244

TID 4002
1  |                     | CODE | 111005 Assessment Category | 1-n | MC | CID 6026 | any 1 3 5 6 8 9
2  | > HAS CONCEPT MOD   | CODE | SCT:272741003 Laterality | 1 | U | CID 6022
3  |                     | CODE | 111023 Differential Diagnosis/Impression | 1-n | MC | CID 6002 | any 1 3 5 6 8 9
4  | > HAS CONCEPT MOD   | CODE | SCT:272741003 Laterality | 1 | U | CID 6022
5  |                     | TEXT | 111033 Impression Description | 1 | MC | | any 1 3 5 6 8 9
6  |                     | CODE | 111053 Recommended Follow-up | 1-n | MC | CID 6028 | any 1 3 5 6 8 9
7  | > HAS CONCEPT MOD   | CODE | SCT:272741003 Laterality | 1 | U | CID 6022
8  |                     | NUM  | 111055 Recommended Follow-up Interval | 1 | MC | whole CID 6046 | \
any 1 3 5 6 8 9; without 9
9  |                     | DATE | 111054 Recommended Follow-up Date | 1 | MC | | any 1 3 5 6 8 9; without 8
10 |                     | NUM  | 111013 Certainty of Impression | 1 | UC | percent | with 1 3 5
11 |                     | INCLUDE | 4019 | 1-n | M
12 |                     | NUM  | CID 6142 | 1-n | U
13 | > HAS CONCEPT MOD   | CODE | SCT:272741003 Laterality | 1 | U | CID 6022
14 | > HAS CONCEPT MOD   | CODE | 121401 Derivation | 1 | M | CID 6140
15 | > INFERRED FROM     | TEXT | 112034 Calculation Description | 1 | U

TID 4003
1 |                      | CONTAINER | 111034 Individual Impression/Recommendation | 1 | M
2 | > HAS CONCEPT MOD    | CODE      | 111056 Rendering Intent | 1 | M | CID 6034
3 | > CONTAINS           | INCLUDE   | 4002 | 1   | U
4 | > CONTAINS           | INCLUDE   | 4004 | 1-n | MC | | any 4 5
5 | > CONTAINS           | INCLUDE   | 4006 | 1-n | MC | | any 4 5

TID 4004
1 |                      | CODE    | 111015 Composite Feature | 1 | M | CID 6016
2 | > HAS CONCEPT MOD    | CODE    | 111056 Rendering Intent | 1 | M | CID 6034
3 | > HAS OBS CONTEXT    | INCLUDE | 4108 | 1   | U
4 | > HAS PROPERTIES     | INCLUDE | 4005 | 1   | M
5 | > INFERRED FROM      | INCLUDE | 4004 | 1-n | MC | | two 5 6
6 | > INFERRED FROM      | INCLUDE | 4006 | 1-n | MC | | two 5 6

TID 4005
1  |                     | CODE | 111016 Composite type | 1 | M | CID 6035
2  |                     | CODE | 111057 Scope of Feature | 1 | M | CID 6036
3  |                     | INCLUDE | 4019 | 1 | M
4  |                     | NUM  | 111011 Certainty of Feature | 1 | U | percent
5  |                     | NUM  | 111047 Probability of cancer | 1 | UC | percent | only parent != 111102
6  |                     | CODE | 111042 Pathology | 1-n | U | baseline CID 6030
7  |                     | INCLUDE | 1400 | 1-n | U
8  |                     | INCLUDE | 1401 | 1-n | U
10 |                     | INCLUDE | 4021 | 1-n | U
16 |                     | CODE | 111048 Quadrant location | 1 | U | CID 6020
17 |                     | CODE | 111014 Clockface or region | 1 | U | CID 6018
18 |                     | CODE | 111020 Depth | 1 | U | CID 6024
19 |                     | CODE | 111035 Lesion Density | 1 | UC | CID 6008 | only parent = 129788004 129793001
20 |                     | CODE | SCT:107644003 Shape | 1 | UC | CID 6004 | only parent = 129788004 129793001
21 |                     | CODE | SCT:112233002 Margin | 1-n | UC | CID 6006 | only parent = 129788004 129793001
22 |                     | CODE | 111009 Calcification Type | 1-n | UC | CID 6010 | only parent = 129769006 129770007
23 |                     | CODE | 111008 Calcification Distribution | 1 | UC | CID 6012 | only parent = 129769006
24 |                     | NUM  | 111038 Number of calcifications | 1 | UC | count | only parent = 129769006
25 |                     | NUM  | CID 6142 | 1-n | U
26 | > HAS CONCEPT MOD   | CODE | 121401 Derivation | 1 | M | CID 6140
27 | > INFERRED FROM     | TEXT | 112034 Calculation Description | 1 | U

TID 4006
1  |                     | CODE    | 111059 Single Image Finding | 1 | M | CID 6014
2  | > HAS CONCEPT MOD   | CODE    | 111056 Rendering Intent | 1 | M | CID 6034
4  | > HAS OBS CONTEXT   | INCLUDE | 4108 | 1   | U
5  | > HAS PROPERTIES    | INCLUDE | 4019 | 1   | M
6  | > HAS PROPERTIES    | NUM     | 111012 Certainty of Finding | 1 | U | percent
7  | > HAS PROPERTIES    | NUM     | 111047 Probability of cancer | 1 | UC | percent | \
only parent != 129715009 111100 24142002 111099 111101 111102
8  | > HAS PROPERTIES    | INCLUDE | 4021 | 1   | MC | | iff parent != 129715009 111100 111101
9  | > HAS PROPERTIES    | INCLUDE | 4007 | 1   | MC | | iff parent = 129715009
10 | > R-INFERRED FROM   | CODE    |      | 1-n | UC | code 111100 | only parent = 129715009
11 | > HAS PROPERTIES    | INCLUDE | 4008 | 1   | MC | | iff parent = 111100
12 | > HAS PROPERTIES    | INCLUDE | 4009 | 1   | UC | | only parent = 129770007
13 | > HAS PROPERTIES    | INCLUDE | 4010 | 1   | UC | | only parent = 129769006
14 | > HAS PROPERTIES    | INCLUDE | 4011 | 1   | UC | | only parent = 129793001
15 | > HAS PROPERTIES    | CODE    | 111297 Nipple Characteristic | 1 | UC | CID 6039 | only parent = 24142002
16 | > HAS PROPERTIES    | INCLUDE | 4012 | 1   | MC | | iff parent = 111102
17 | > HAS PROPERTIES    | INCLUDE | 4013 | 1   | MC | | iff parent = 111099
18 | > R-INFERRED FROM   | IMAGE   |      | 1   | MC | library | iff parent = 111101; without 19
19 | > HAS PROPERTIES    | SCOORD  | 111030 Image Region | 1-n | MC | | iff parent = 111101; without 18
20 | >> R-SELECTED FROM  | IMAGE   |      | 1   | M | library
21 | > HAS PROPERTIES    | INCLUDE | 4014 | 1-n | MC | | iff parent = 111101
22 | > HAS PROPERTIES    | NUM     | CID 6142 | 1-n | U
23 | >> HAS CONCEPT MOD  | CODE    | 121401 Derivation | 1 | M | CID 6140
24 | >> INFERRED FROM    | TEXT    | 112034 Calculation Description | 1 | U
25 | > INFERRED FROM     | INCLUDE | 4006 | 1-n | UC | code 129770007 | only parent = 129769006

TID 4007
1 |                      | CODE | SCT:129715009 Breast composition | 1 | MC | CID 6000 | any 1 2
2 |                      | NUM  | 111046 Percent Fibroglandular Tissue | 1 | MC | percent | any 1 2

TID 4008
1 |                      | SCOORD | 111007 Breast Outline including Pectoral Muscle Tissue | 1 | M | POLYLINE
2 | > R-SELECTED FROM    | IMAGE  | | 1 | M | library
3 |                      | SCOORD | 111045 Pectoral Muscle Outline | 1 | U | POLYLINE
4 | > R-SELECTED FROM    | IMAGE  | | 1 | M | library

TID 4009
1 |                      | CODE    | 111009 Calcification Type | 1-n | MC | CID 6010 | any 1 2 3
2 |                      | INCLUDE | 1400 | 1-n | MC | | any 1 2 3
3 |                      | INCLUDE | 1401 | 1-n | MC | | any 1 2 3

TID 4010
1 |                      | CODE    | 111009 Calcification Type | 1-n | MC | CID 6010 | any 1 2 3 4 5
2 |                      | CODE    | 111008 Calcification Distribution | 1 | MC | CID 6012 | any 1 2 3 4 5
3 |                      | NUM     | 111038 Number of calcifications | 1 | MC | count | any 1 2 3 4 5
4 |                      | INCLUDE | 1400 | 1-n | MC | | any 1 2 3 4 5
5 |                      | INCLUDE | 1401 | 1-n | MC | | any 1 2 3 4 5

TID 4011
1 |                      | CODE    | 111035 Lesion Density | 1 | MC | CID 6008 | any 1 2 3 4 5
2 |                      | CODE    | SCT:107644003 Shape | 1 | MC | CID 6004 | any 1 2 3 4 5
3 |                      | CODE    | SCT:112233002 Margin | 1-n | MC | CID 6006 | any 1 2 3 4 5
4 |                      | INCLUDE | 1400 | 1-n | MC | | any 1 2 3 4 5
5 |                      | INCLUDE | 1401 | 1-n | MC | | any 1 2 3 4 5

TID 4012
1 |                      | CODE    | 111039 Object type | 1 | M | CID 6040
2 |                      | INCLUDE | 1400 | 1-n | U
3 |                      | INCLUDE | 1401 | 1-n | U

TID 4013
1 |                      | TEXT    | 111058 Selected Region Description | 1 | M
2 |                      | INCLUDE | 1400 | 1-n | U
3 |                      | INCLUDE | 1401 | 1-n | U

TID 4014
1 |                      | CODE    | 111052 Quality Finding | 1 | M | CID 6041
2 | > HAS PROPERTIES     | CODE    | 111050 Quality Assessment | 1 | U | CID 6044
3 | > HAS PROPERTIES     | CODE    | 111051 Quality Control Standard | 1 | UC | CID 6045 | with 2
4 | > HAS PROPERTIES     | NUM     | 111029 Image Quality Rating | 1 | U | percent

TID 4015
1 |                      | CONTAINER | 111063 Successful Detections | 1 | MC | | iff parent = 111222 111223
2 | > CONTAINS           | INCLUDE   | 4017 | 1-n | M
3 |                      | CONTAINER | 111025 Failed Detections | 1 | MC | | iff parent = 111224 111223
4 | > CONTAINS           | INCLUDE   | 4017 | 1-n | M

TID 4016
1 |                      | CONTAINER | 111062 Successful Analyses | 1 | MC | | iff parent = 111222 111223
2 | > CONTAINS           | INCLUDE   | 4018 | 1-n | M
3 |                      | CONTAINER | 111024 Failed Analyses | 1 | MC | | iff parent = 111224 111223
4 | > CONTAINS           | INCLUDE   | 4018 | 1-n | M

TID 4017
1 |                      | CODE    | 111022 Detection Performed | 1 | M | CID 6014
2 | > HAS PROPERTIES     | INCLUDE | 4019 | 1 | M
4 | > R-HAS PROPERTIES   | IMAGE   | | 1-n | MC | library | any 4 6
6 | > HAS PROPERTIES     | SCOORD  | 111030 Image Region | 1-n | MC | | any 4 6
8 | >> R-SELECTED FROM   | IMAGE   | | 1 | M | library

TID 4018
1 |                      | CODE    | 111004 Analysis Performed | 1 | M | CID 6043
2 | > HAS PROPERTIES     | INCLUDE | 4019 | 1 | M
4 | > R-HAS PROPERTIES   | IMAGE   | | 1-n | MC | library | any 4 6
6 | > HAS PROPERTIES     | SCOORD  | 111030 Image Region | 1-n | MC | | any 4 6
8 | >> R-SELECTED FROM   | IMAGE   | | 1 | M | library

TID 4019
1  |                     | TEXT | 111001 Algorithm Name | 1 | M
1b |                     | CODE | 111001 Algorithm Name | 1 | U
2  |                     | TEXT | 111003 Algorithm Version | 1 | M
2b |                     | TEXT | 122405 Algorithm Manufacturer | 1 | U
3  |                     | TEXT | 111002 Algorithm Parameters | 1-n | U
4  |                     | CODE | 111000 Algorithm Family | 1 | U

TID 4020 extensible
1  |                     | IMAGE | | 1 | M
2  | > HAS ACQ CONTEXT   | CODE | 111027 Image Laterality | 1 | MC | CID 6022 | if image ImageLaterality
3  | > HAS ACQ CONTEXT   | CODE | 111031 Image View | 1 | MC | CID 4014 | if image ViewCodeSequence
4  | >> HAS CONCEPT MOD  | CODE | 111032 Image View Modifier | 1-n | MC | CID 4015 | if image ViewModifierCodeSequence
5  | > HAS ACQ CONTEXT   | TEXT | 111044 Patient Orientation Row | 1 | MC | | if image PatientOrientation
6  | > HAS ACQ CONTEXT   | TEXT | 111043 Patient Orientation Column | 1 | MC | | if image PatientOrientation
7  | > HAS ACQ CONTEXT   | DATE | 111060 Study Date | 1 | MC | | if image StudyDate
8  | > HAS ACQ CONTEXT   | TIME | 111061 Study Time | 1 | MC | | if image StudyTime
9  | > HAS ACQ CONTEXT   | DATE | 111018 Content Date | 1 | MC | | if image ContentDate
10 | > HAS ACQ CONTEXT   | TIME | 111019 Content Time | 1 | MC | | if image ContentTime
11 | > HAS ACQ CONTEXT   | NUM  | 111026 Horizontal Pixel Spacing | 1 | MC | unit um mm | \
if image ImagerPixelSpacing PixelSpacing
12 | > HAS ACQ CONTEXT   | NUM  | 111066 Vertical Pixel Spacing | 1 | MC | unit um mm | \
if image ImagerPixelSpacing PixelSpacing

TID 4021
1 |                      | SCOORD | 111010 Center | 1 | M | POINT
2 | > R-SELECTED FROM    | IMAGE  | | 1 | M | library
3 |                      | SCOORD | 111041 Outline | 1 | U
4 | > R-SELECTED FROM    | IMAGE  | | 1 | M | library
5 |                      | SCOORD | CID 6166 | 1-n | U
6 | > R-SELECTED FROM    | IMAGE  | | 1 | M | library

TID 4108
1 |                      | TEXT   | 112039 Tracking Identifier | 1 | MC | trimmed | any 1 2
2 |                      | UIDREF | 112040 Tracking Unique Identifier | 1 | MC | | any 1 2

TID 1400 extensible
1 |                      | NUM    | CID 7470 | 1 | M | positive CID 7460
2 | > INFERRED FROM      | SCOORD | 121055 Path | 1 | U | POLYLINE CIRCLE ELLIPSE
3 | >> R-SELECTED FROM   | IMAGE  | | 1 | M | library

TID 1401 extensible
1 |                      | NUM    | CID 7471 | 1 | M | positive CID 7461
2 | > INFERRED FROM      | SCOORD | 121056 Area outline | 1 | U | POINT CIRCLE ELLIPSE POLYLINE
3 | >> R-SELECTED FROM   | IMAGE  | | 1 | M | library
"""
TEMPLATES = read(_TABLES)
"""Every template by its number."""
