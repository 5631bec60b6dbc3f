// expect: 'batch' consumed more than once

import Ingest
import Postgres
import SQS

func f(_ batch: consuming DeliveryBatch, _ proof: borrowing Committed) -> [Acknowledgement] {
    batch.acknowledgeAll(after: proof) + batch.acknowledgeAll(after: proof)
}
