// expect: 'Acknowledgement' initializer is inaccessible

import SQS

func f() -> Acknowledgement { Acknowledgement(receiptHandle: "x") }
