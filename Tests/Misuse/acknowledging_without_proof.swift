// expect: missing argument for parameter 'after' in call

import SQS

func f(_ batch: consuming DeliveryBatch) -> [Acknowledgement] { batch.acknowledgeAll() }
